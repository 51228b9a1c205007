"""A catalog without a server: what PostgreSQL 15 held after schema.sql (see make_snapshot)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import zstandard

from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import build_catalog
from gateway.sql.facts import StatementFacts

SNAPSHOT = Path(__file__).with_name("snapshot.json.zst")
Analyse = Callable[..., StatementFacts]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return build_catalog(orjson.loads(zstandard.decompress(SNAPSHOT.read_bytes())))


@pytest.fixture(scope="session")
def facts(catalog: Catalog) -> Analyse:
    """Analyse one statement with search_path sales, app."""

    def run(sql: str, *params: int) -> StatementFacts:
        (found,) = analyze(
            sql.encode(), catalog, search_path=("sales", "app"), param_oids=tuple(params)
        )
        return found

    return run


@pytest.fixture(scope="session")
def names(catalog: Catalog) -> Callable[[StatementFacts], list[tuple[str, str, str]]]:
    """Output columns as (name, verdict, sorted source names)."""

    def run(found: StatementFacts) -> list[tuple[str, str, str]]:
        assert found.outputs is not None
        return [
            (o.name, o.verdict, ",".join(sorted(catalog.column_name(s) for s in o.sources)))
            for o in found.outputs
        ]

    return run
