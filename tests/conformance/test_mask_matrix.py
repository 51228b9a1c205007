"""Every mask kind on every type it fits, read through a gateway by three drivers.

Goal: a masked value decodes to its column's type with psycopg, asyncpg and node-postgres, in text
and in binary, and all of them see one value; kinds that promise it leave no four characters of the
original. Method: one table with a column per type and kind, and a policy that masks them all.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import math
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from _fastpath.datarow import fitting_kinds
from tests.support.gateway import GatewayProcess
from tests.support.stands import EMBEDDED, Stands, own_directory

NODE_DIR = Path(__file__).parent / "node"
SECRET = "Жзлмнопрстуфхцчшщ"  # no character of any replacement
# type -> (oid, three values as SQL)
TYPES: dict[str, tuple[int, tuple[str, str]]] = {
    "text": (25, (f"'{SECRET}'", "''")),
    "varchar(12)": (1043, (f"'{SECRET[:12]}'", "'x'")),
    "char(20)": (1042, (f"'{SECRET}'", "'x'")),
    "int2": (21, ("4217", "-32768")),
    "int4": (23, ("4217", "-2147483648")),
    "int8": (20, ("9223372036854775807", "-42")),
    "oid": (26, ("4217", "4294967295")),
    "float4": (700, ("4217.25", "-1.5")),
    "float8": (701, ("4217.25", "-0.001")),
    "numeric": (1700, ("4217.25", "-12345678901234567890.123")),
    "numeric(12,2)": (1700, ("4217.25", "-0.01")),
    "bool": (16, ("true", "false")),
    "uuid": (2950, ("'8c5e3c0e-6c3f-4f0a-9c55-0d7f0a3b1c2d'", "'ffffffff-ffff-4fff-bfff-ffffffffffff'")),
    "date": (1082, ("'1984-05-17'", "'9999-12-31'")),
    "time": (1083, ("'13:45:59.25'", "'00:00'")),
    "timetz": (1266, ("'13:45:59+02'", "'00:00+00'")),
    "timestamp": (1114, ("'1984-05-17 13:45:59.123456'", "'2000-01-01'")),
    "timestamptz": (1184, ("'1984-05-17 13:45:59.5+05:30'", "'2000-01-01 00:00+00'")),
    "interval": (1186, ("'3 days 04:05:06'", "'0'")),
    "json": (114, (f"""'{{"a": "{SECRET}", "b": [1, "x@mail.example"]}}'""", "'[]'")),
    "jsonb": (3802, (f"""'{{"a": "{SECRET}", "b": [1, "x@mail.example"]}}'""", "'[]'")),
    "bytea": (17, ("'\\x00ff10'", "''")),
    "inet": (869, ("'192.0.2.17'", "'2001:db8::1/64'")),
    "cidr": (650, ("'192.0.2.0/24'", "'10.0.0.0/8'")),
    "macaddr": (829, ("'02:00:5e:10:00:01'", "'00:00:00:00:00:00'")),
    "text[]": (1009, (f"array['{SECRET}', null, 'b']", "'{}'")),
    "int4[]": (1007, ("array[[4217, 5], [6, null]]", "'{}'")),
    "uuid[]": (2951, ("array['8c5e3c0e-6c3f-4f0a-9c55-0d7f0a3b1c2d'::uuid]", "'{}'")),
    "timestamptz[]": (1185, ("array['1984-05-17 13:45+00'::timestamptz]", "'{}'")),
}  # fmt: skip
CONSTANTS = {
    "bool": "true", "uuid": "00000000-0000-0000-0000-000000000001", "date": "2000-01-02", "time": "01:02:03",
    "timetz": "01:02:03", "timestamp": "2000-01-02 03:04:05", "timestamptz": "2000-01-02 03:04:05+00",
    "interval": "3 days", "inet": "10.0.0.1", "cidr": "10.0.0.0/8", "macaddr": "00:00:00:00:00:01",
    "bytea": "\\x01", "json": "seven", "jsonb": "seven",
}  # fmt: skip
# What node-postgres decodes from binary; of other types it hands on the bytes.
NODE_BINARY = {"text", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bool",
               "timestamp", "timestamptz"}  # fmt: skip
HIDES_ALL = {"null", "constant", "redact", "zero", "email", "hash", "uuid"}


class Column:
    """One column of the matrix."""

    def __init__(self, number: int, type_name: str, kind: str) -> None:
        self.name = f"c{number}"
        self.type_name = type_name
        self.base = type_name.partition("(")[0].removesuffix("[]")
        self.kind = kind

    def params(self) -> dict[str, object]:
        """Parameters that fit the column's type."""
        if self.kind == "constant":
            value: object = CONSTANTS.get(self.base, "7")
            return {"value": value == "true" if self.base == "bool" else value}
        return {
            "partial": {"keep_last": 2},
            "bucket": {"size": 1000},
            "truncate": {"to": "hour" if self.base == "time" else "month"},
            "json": {"keep": ["b.*"]},
        }.get(self.kind, {})  # type: ignore[return-value]


COLUMNS = [
    Column(number, type_name, kind)
    for number, (type_name, kind) in enumerate(
        (type_name, kind) for type_name, (oid, _) in TYPES.items() for kind in fitting_kinds(oid)
    )
]
NAMES = ", ".join(column.name for column in COLUMNS)


def policy() -> str:
    masks = [
        {
            "id": column.name,
            "columns": [f"matrix.t.{column.name}"],
            "with": {"kind": column.kind, **column.params()},
        }
        for column in COLUMNS
    ]
    return json.dumps(
        {
            "version": 1,
            "mode": "enforce",
            "groups": {
                "agents": {"from": ["test:agents"], "kind": "agent"},
                "trusted": {"from": ["test:trusted"], "kind": "agent"},
            },
            "grants": [
                {"id": "m", "to": ["agents", "trusted"], "target": "orders", "level": "read",
                 "schema": "matrix", "tables": ["*"]}
            ],
            "masks": masks,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway(stands: Stands) -> Iterator[GatewayProcess]:
    """A gateway with the matrix behind it; the schema goes when the tests are done."""
    cluster = stands.cluster(EMBEDDED)
    columns = ", ".join(f"{column.name} {column.type_name}" for column in COLUMNS)
    rows = ", ".join(
        "(" + ", ".join([str(n), *(TYPES[c.type_name][1][n] for c in COLUMNS)]) + ")"
        for n in (0, 1)
    )
    cluster.run_sql(
        f"drop schema if exists matrix cascade; create schema matrix;"
        f"create table matrix.t (id int primary key, {columns});"
        f"insert into matrix.t values {rows}; insert into matrix.t (id) values (2);"
        "grant usage on schema matrix to pn_read; grant select on matrix.t to pn_read;",
        database="orders",
    )
    try:
        with (
            own_directory() as directory,
            GatewayProcess(cluster, Path(directory), policy=policy()) as one,
        ):
            yield one
    finally:
        cluster.run_sql("drop schema matrix cascade", database="orders")


@pytest.fixture(scope="module")
def expected(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """What psycopg decodes from binary."""
    return by_psycopg(gateway, binary=True)


def by_psycopg(gateway: GatewayProcess, *, binary: bool) -> list[dict[str, Any]]:
    with gateway.connect() as connection:
        rows = connection.execute(
            f"select {NAMES} from matrix.t order by id".encode(), binary=binary
        ).fetchall()
    return [{c.name: plain(c, cell) for c, cell in zip(COLUMNS, row, strict=True)} for row in rows]


def plain(column: Column, value: Any) -> Any:
    """One form for what the drivers decode alike but name differently."""
    if isinstance(value, list | tuple):
        return [plain(column, item) for item in value]
    if isinstance(value, bytes | memoryview) and column.base == "macaddr":
        return bytes(value).hex(":")
    if isinstance(value, memoryview | bytes):
        return bytes(value)
    if column.base in {"json", "jsonb"} and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if column.base in {"inet", "cidr"} and value is not None:
        return str(value).removesuffix("/32").removesuffix("/128")
    if column.base == "uuid" and value is not None:
        return str(value)
    if column.base in {"float4", "float8"} and value is not None:
        return float(f"{value:.6g}")
    return value


PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str, "varchar": str, "char": str, "int2": int, "int4": int, "int8": int, "oid": int,
    "float4": float, "float8": float, "numeric": decimal.Decimal, "bool": bool, "uuid": str,
    "date": dt.date, "time": dt.time, "timetz": dt.time, "timestamp": dt.datetime,
    "timestamptz": dt.datetime, "interval": dt.timedelta, "bytea": bytes, "inet": str, "cidr": str,
    "macaddr": str,
}  # fmt: skip


def test_psycopg(gateway: GatewayProcess, expected: list[dict[str, Any]]) -> None:
    assert by_psycopg(gateway, binary=False) == expected
    for row in expected:
        for column in COLUMNS:
            value = row[column.name]
            while isinstance(value, list) and value and column.type_name.endswith("[]"):
                value = value[0]
            if column.base in PYTHON_TYPES and value not in (None, []):
                assert isinstance(value, PYTHON_TYPES[column.base]), (column.type_name, column.kind)
    assert all(value is None for value in expected[2].values()), "NULL stays NULL"


def test_asyncpg(gateway: GatewayProcess, expected: list[dict[str, Any]]) -> None:
    async def read() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=gateway.port,
            database="orders",
            user="agent",
            password=gateway.mint("agent-1", ["agents"]),
        )
        try:
            return list(await connection.fetch(f"select {NAMES} from matrix.t order by id"))
        finally:
            await connection.close()

    for row, wanted in zip(asyncio.run(read()), expected, strict=True):
        for column in COLUMNS:
            assert plain(column, row[column.name]) == wanted[column.name], (
                column.type_name,
                column.kind,
            )


def test_node(gateway: GatewayProcess, expected: list[dict[str, Any]]) -> None:
    path = f"{os.environ.get('PATH', '')}:{Path(sys.executable).parent}"
    node = shutil.which("node", path=path)
    assert node is not None, "`make setup` installs Node.js"
    of_binary = [c for c in COLUMNS if c.type_name in NODE_BINARY]
    done = subprocess.run(
        [node, "matrix.js", NAMES, ", ".join(c.name for c in of_binary)],
        cwd=NODE_DIR,
        env=gateway.environment() | {"PATH": path, "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for answer, columns in zip(json.loads(done.stdout), (COLUMNS, of_binary), strict=True):
        for row, wanted in zip(answer, expected, strict=True):
            for column in columns:
                same(column, row[column.name], wanted[column.name])


def same(column: Column, told: Any, wanted: Any) -> None:
    """What node-postgres says of a value is what psycopg read, as JavaScript's type for it."""
    where = (column.type_name, column.kind, told, wanted)
    if told is None or wanted is None:
        assert told is None, where
        assert wanted is None, where
        return
    kind, value = told
    if column.base in {"json", "jsonb"}:
        assert value == wanted or kind == "array", where
    elif kind == "array":
        assert isinstance(wanted, list), where
        for one, other in zip(value, wanted, strict=True):
            same(column, one, other)
    elif column.base in {"date", "timestamp", "timestamptz"}:
        moment = dt.datetime.combine(wanted, dt.time()) if type(wanted) is dt.date else wanted
        assert kind == "date", where
        assert value == math.floor(moment.replace(tzinfo=moment.tzinfo or dt.UTC).timestamp() * 1e3)
    elif column.base in {"int2", "int4", "oid", "float4", "float8"}:
        assert kind == "number", where
        assert float(f"{value:.6g}") == float(f"{wanted:.6g}"), where
    elif column.base == "bool":
        assert (kind, value) == ("boolean", wanted), where
    elif column.base == "bytea":
        assert (kind, value) == ("bytes", wanted.hex()), where
    elif column.base == "numeric":
        assert kind == "string", where
        assert decimal.Decimal(value) == wanted, where
    elif column.base in {"time", "timetz", "interval"}:
        assert kind in {"string", "object"}, where
    else:
        assert kind == "string", where
        assert value == str(wanted) or plain(column, value) == wanted, where


def test_no_four_characters_survive(expected: list[dict[str, Any]]) -> None:
    parts = [SECRET[at : at + 4] for at in range(len(SECRET) - 3)]
    for column in COLUMNS:
        if column.kind in HIDES_ALL:
            shown = json.dumps(expected[0][column.name], default=str, ensure_ascii=False)
            assert not [part for part in parts if part in shown], (column.type_name, column.kind)


def test_hashes_of_all_types_are_keyed_alike(expected: list[dict[str, Any]]) -> None:
    """The matrix really shows hashes and not constants."""
    hashed = [c for c in COLUMNS if c.kind in {"hash", "uuid"} and not c.type_name.endswith("[]")]
    assert len(hashed) >= 10
    for column in hashed:
        assert expected[0][column.name] != expected[1][column.name], column.type_name
    versions = [uuid.UUID(expected[0][c.name]).version for c in hashed if c.base == "uuid"]
    assert set(versions) == {8}


def test_not_masked_for_nobody(gateway: GatewayProcess) -> None:
    """Every column of the table but its key is under a mask, so nothing is clear by mistake."""
    with gateway.connect() as connection, pytest.raises(psycopg.Error, match="PN307"):
        connection.execute("select t from matrix.t")
