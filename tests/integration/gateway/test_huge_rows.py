"""Rows of many megabytes under masks: right, and without the worker holding them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.gateway import wait_until
from tests.support.stands import Stand

MEGABYTE = 1 << 20
SIZE = 96 * MEGABYTE
# What buffers may add. Holding the row would add its size, twice while it is masked.
GROWTH_MAX = 48 * MEGABYTE


@pytest.fixture
def documents(stand: Stand) -> Iterator[Stand]:
    with stand.server() as server:
        server.execute(
            "alter table sales.customers add document text;"
            f"update sales.customers set document = repeat('d', {SIZE}) where id = 1"
        )
    # Changed behind the gateway's back: found by its next look at the catalog.
    wait_until(lambda: _knows_document(stand), 15, "the new column is known")
    yield stand
    with stand.server() as server:
        server.execute("alter table sales.customers drop column document")


def _knows_document(stand: Stand) -> bool:
    try:
        with stand.gateway.connect() as connection:
            connection.execute("select document from sales.customers limit 0")
    except psycopg.Error:
        return False
    return True


def peak(stand: Stand) -> int:
    """The largest memory any worker has had, in bytes."""
    found = []
    for pid in stand.gateway.pids("worker"):
        status = Path(f"/proc/{pid}/status").read_text()
        found.append(
            next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        )
    assert found
    return max(found) * 1024


def test_select_streams_behind_the_last_mask(documents: Stand) -> None:
    before = peak(documents)
    with documents.gateway.connect() as connection:
        row = connection.execute(
            "select email, phone, document from sales.customers where id = 1"
        ).fetchone()
    assert row is not None
    assert row[0] == "***@***.***"
    assert len(row[2]) == SIZE
    assert peak(documents) - before < GROWTH_MAX


def test_copy_streams_wherever_the_mask_is(documents: Stand) -> None:
    before = peak(documents)
    size, tail = 0, b""
    sql = b"copy (select document, email from sales.customers where id = 1) to stdout"
    with documents.gateway.connect() as connection, connection.cursor().copy(sql) as copy:
        for part in copy:
            size += len(part)
            tail = (tail + bytes(part)[-20:])[-20:]
    assert size == SIZE + len("\t***@***.***\n")
    assert tail.endswith(b"d\t***@***.***\n")
    assert peak(documents) - before < GROWTH_MAX
