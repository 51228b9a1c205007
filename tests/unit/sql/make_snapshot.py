"""Rebuild snapshot.json.zst from a live server that holds schema.sql: DSN as the argument."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg
import orjson
import zstandard

from gateway.sql.catalog_load import fetch_rows

HERE = Path(__file__).parent


async def main(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    rows = await fetch_rows(connection)
    await connection.close()
    packed = zstandard.compress(orjson.dumps(rows), 19)
    (HERE / "snapshot.json.zst").write_bytes(packed)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
