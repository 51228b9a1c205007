"""SQLAlchemy unchanged: reflection and the ORM, over psycopg and asyncpg."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.support.gateway import GatewayProcess


class Base(DeclarativeBase):
    pass


class Refund(Base):
    __tablename__ = "refunds"
    __table_args__ = {"schema": "sales"}  # noqa: RUF012  as its manual writes it
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(sa.ForeignKey("sales.orders.id"))
    status: Mapped[str | None]
    note: Mapped[str | None]


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = {"schema": "sales"}  # noqa: RUF012  as its manual writes it
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None]


def _url(gateway: GatewayProcess, driver: str) -> sa.URL:
    return sa.URL.create(
        f"postgresql+{driver}",
        username="agent",
        password=gateway.mint("agent-1", ["agents"]),
        host="127.0.0.1",
        port=gateway.port,
        database="orders",
    )


@pytest.fixture
def engine(each_gateway: GatewayProcess) -> Iterator[sa.Engine]:
    made = sa.create_engine(_url(each_gateway, "psycopg"))
    yield made
    made.dispose()


def test_reflection(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    assert isinstance(inspector, PGInspector)
    assert {"customers", "orders", "refunds"} <= set(inspector.get_table_names("sales"))
    assert "customer_names" in inspector.get_view_names("sales")
    columns = {column["name"] for column in inspector.get_columns("customers", "sales")}
    assert {"id", "email", "balance"} <= columns
    assert inspector.get_pk_constraint("orders", "sales")["constrained_columns"] == ["id"]
    keys = inspector.get_foreign_keys("orders", "sales")
    assert keys[0]["referred_table"] == "customers"
    assert inspector.get_indexes("orders", "sales") == []
    assert [enum["name"] for enum in inspector.get_enums("sales")] == ["mood"]
    table = sa.Table("refunds", sa.MetaData(), schema="sales", autoload_with=engine)
    assert {"id", "order_id", "status", "note"} == set(table.columns.keys())


def test_orm(engine: sa.Engine) -> None:
    with Session(engine) as session:
        refund = Refund(order_id=3, status="orm", note="made")
        session.add(refund)
        session.flush()
        assert refund.id > 20
        session.add_all([Refund(order_id=n, status="orm", note=None) for n in range(1, 6)])
        session.commit()
        found = session.scalars(
            sa.select(Refund).join(Order).where(Refund.status == "orm").order_by(Refund.id)
        ).all()
        assert [item.order_id for item in found] == [3, 1, 2, 3, 4, 5]
        found[0].note = "changed"
        session.commit()
        session.refresh(found[0])
        assert found[0].note == "changed"
        for item in found:
            session.delete(item)
        session.commit()
        count = session.scalar(
            sa.select(sa.func.count()).select_from(Refund).where(Refund.status == "orm")
        )
        assert count == 0


def test_rollback_and_nested(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(Refund(order_id=1, status="nested"))
        with session.begin_nested() as nested:
            session.add(Refund(order_id=2, status="nested"))
            session.flush()
            nested.rollback()
        rows = session.scalars(sa.select(Refund.order_id).where(Refund.status == "nested")).all()
        assert rows == [1]
        session.rollback()
        assert session.scalars(sa.select(Refund).where(Refund.status == "nested")).all() == []


def test_orm_over_asyncpg(each_gateway: GatewayProcess) -> None:
    async def run() -> None:
        engine = create_async_engine(_url(each_gateway, "asyncpg"))
        try:
            async with AsyncSession(engine) as session:
                session.add_all([Refund(order_id=n, status="async") for n in range(1, 4)])
                await session.flush()
                found = await session.scalars(
                    sa.select(Refund.order_id).where(Refund.status == "async").order_by(Refund.id)
                )
                assert found.all() == [1, 2, 3]
                await session.rollback()
        finally:
            await engine.dispose()

    asyncio.run(asyncio.wait_for(run(), 40))
