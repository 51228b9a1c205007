"""`postern scan`: sample a target's columns and suggest tags and masks. Never prints a value."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import click

from gateway.cli.output import config_option, fail, json_option, print_json, print_table
from gateway.cli.policy_sources import Sources, connect
from gateway.config import Target
from gateway.errors import GatewayError
from gateway.policy.discover import ColumnSample, Suggestion, build_patch, suggest

_COLUMNS_SQL: Final = """
    SELECT n.nspname::text, c.relname::text, a.attname::text,
           pg_catalog.format_type(b.oid, NULL) AS type, greatest(c.reltuples, 0)::float8
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'm') AND NOT c.relispartition
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      AND ($1::text[] IS NULL OR n.nspname = ANY ($1))
      AND b.typname IN ('text', 'varchar', 'bpchar', 'citext', 'json', 'jsonb', 'int8', 'numeric')
      AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
    ORDER BY 1, 2, a.attnum"""
_VALUE_CHARS: Final = 4096
_BATCH_ROWS: Final = 500
_SAMPLE_FACTOR: Final = 10  # from a table this much larger than the sample, pages are drawn


@click.command()
@config_option
@json_option
@click.option("--target", "target_name", required=True, help="The target to look into.")
@click.option("--schema", "schemas", multiple=True, help="Only this schema; repeatable.")
@click.option(
    "--rows", default=1_000, show_default=True, type=click.IntRange(1, 1_000_000),
    help="Rows to sample of each table.",
)  # fmt: skip
@click.option(
    "--patch", "patch_path", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the suggested tags and masks to this policy file.",
)  # fmt: skip
def command(
    config_path: Path | None,
    as_json: bool,
    target_name: str,
    schemas: tuple[str, ...],
    rows: int,
    patch_path: Path | None,
) -> None:
    """Sample a target's columns for card numbers, e-mail, phones and the like.

    Prints columns, counts and suggested masks, never a value. Reads as the target's read role.
    Exit status 0 when nothing is found that has no mask yet, 1 otherwise.
    """
    sources = Sources(config_path, {})
    target = sources.target(target_name)
    samples = asyncio.run(_sample(target, list(schemas) or None, rows))
    found = [suggestion for sample in samples if (suggestion := suggest(sample)) is not None]
    known = _masked(sources, target_name)
    patch = build_patch(found, target_name, known)
    if as_json:
        print_json({"columns_sampled": len(samples), "found": [_plain(s, known) for s in found]})
    else:
        print_table(
            ("COLUMN", "TYPE", "VALUES", "FOUND", "SUGGESTED", "MASKED"),
            [_line(suggestion, known) for suggestion in found],
            empty=f"nothing found in {len(samples)} columns",
        )
        if patch and patch_path is None:
            click.echo(f"\n{patch}", nl=False)
    if patch and patch_path is not None:
        try:
            patch_path.write_text(patch)
        except OSError as error:
            fail(f"{patch_path}: {error.strerror}")
    raise SystemExit(1 if patch else 0)


async def _sample(target: Target, schemas: Sequence[str] | None, rows: int) -> list[ColumnSample]:
    connection = await connect(target)
    try:
        if target.roles.read:
            await connection.execute(f"SET ROLE {_identifier(target.roles.read)}")
        columns = await connection.fetch(_COLUMNS_SQL, schemas)
        found: list[ColumnSample] = []
        for table in _tables(columns):
            found += await _sample_table(connection, table, rows)
        return found
    finally:
        await connection.close()


def _tables(columns: Sequence[Any]) -> Iterator[list[Any]]:
    table: list[Any] = []
    for column in columns:
        if table and tuple(table[-1])[:2] != tuple(column)[:2]:
            yield table
            table = []
        table.append(column)
    if table:
        yield table


async def _sample_table(
    connection: asyncpg.Connection[Any], columns: list[Any], rows: int
) -> list[ColumnSample]:
    """Scan one table in batches, so that no more than a batch of values is held."""
    schema, table, _, _, tuples = columns[0]
    samples = [ColumnSample(schema, table, name, kind) for _, _, name, kind, _ in columns]
    listed = ", ".join(f"left({_identifier(s.column)}::text, {_VALUE_CHARS})" for s in samples)
    source = f"{_identifier(schema)}.{_identifier(table)}"
    if tuples > rows * _SAMPLE_FACTOR:
        # Whole pages are drawn: ask for twice as many rows, the limit takes what was wanted.
        source += f" TABLESAMPLE SYSTEM ({min(100.0, 200.0 * rows / tuples):.6f})"
    query = f"SELECT {listed} FROM {source} LIMIT {rows}"  # noqa: S608  identifiers are quoted
    async with connection.transaction(readonly=True):
        cursor = await connection.cursor(query)
        while batch := await cursor.fetch(_BATCH_ROWS):
            for position, sample in enumerate(samples):
                sample.add(record[position] for record in batch)
    return samples


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _masked(sources: Sources, target: str) -> frozenset[str]:
    """Return the columns that the configured policies mask already, none without policies."""
    try:
        policy = sources.load(None).policy
    except GatewayError:
        return frozenset()
    return frozenset(
        column
        for mask in policy.masks
        if mask.target in (None, target)
        for column in policy.mask_columns(mask)
    )


def _line(suggestion: Suggestion, known: frozenset[str]) -> tuple[object, ...]:
    sample = suggestion.sample
    shares = ", ".join(f"{kind} {share:.1%}" for kind, share in suggestion.shares.items())
    masked = "yes" if sample.name in known else ""
    return sample.name, sample.type_name, sample.values, shares, suggestion.mask, masked


def _plain(suggestion: Suggestion, known: frozenset[str]) -> dict[str, object]:
    sample = suggestion.sample
    return {
        "column": sample.name,
        "type": sample.type_name,
        "values": sample.values,
        "found": dict(suggestion.shares),
        "tag": suggestion.tag,
        "mask": suggestion.mask,
        "masked": sample.name in known,
    }
