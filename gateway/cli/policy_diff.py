"""`postern policy diff`: what a change would do to the rules and to recorded traffic."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import click

from gateway.audit.search import AuditSearch, Query
from gateway.cli.audit_place import data_dir_option, find_data_dir
from gateway.cli.output import EXIT_NEGATIVE, json_option, print_json, print_table
from gateway.cli.policy_sources import Sources, catalog_option, parse_catalogs
from gateway.policy.diff import Sample, compare_rules, compare_traffic

_STATEMENTS_MAX = 20_000
_SQL_SHOWN = 60
directory = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("diff")
@click.argument("old", type=directory)
@click.argument("new", type=directory)
@click.option(
    "--traffic",
    type=click.Choice(["audit"]),
    help="Decide what the audit trail recorded under both policies.",
)
@click.option("--last", default=5_000, show_default=True, help="Statements of the trail to take.")
@catalog_option
@json_option
@data_dir_option
def diff_command(
    old: Path,
    new: Path,
    traffic: str | None,
    last: int,
    catalogs: tuple[str, ...],
    config_path: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Compare the policies in OLD and NEW. Exit status 1 when traffic is decided otherwise.

    With --traffic audit every statement of the trail is decided under both, for the groups of the
    session that sent it: what would newly be refused, held, allowed or masked.
    """
    sources = Sources(config_path, parse_catalogs(catalogs))
    before, after = sources.load(old), sources.load(new)
    rules = compare_rules(before, after)
    samples: list[Sample] = []
    if traffic is not None:
        count = min(last, _STATEMENTS_MAX)
        samples = read_samples(find_data_dir(config_path, data_dir), count)
    targets = {sample.target for sample in samples}
    changes = compare_traffic(
        sources.engine(before, live=True, only=targets),
        sources.engine(after, live=True, only=targets),
        samples,
    )
    if as_json:
        print_json(
            {
                "rules": [dataclasses.asdict(rule) for rule in rules],
                "statements": len(samples),
                "decisions": [dataclasses.asdict(change) for change in changes],
            }
        )
    else:
        rows = [(rule.what, rule.section, rule.name) for rule in rules]
        print_table(("RULE", "SECTION", "NAME"), rows, empty="no rule differs")
        if traffic is not None:
            lines = [
                (c.what, c.sample.count, c.before, c.after, _cut(c.sample.sql), c.detail)
                for c in changes
            ]
            head = ("DECISION", "TIMES", "BEFORE", "AFTER", "SQL", "WHY")
            print_table(head, lines, empty="no recorded statement is decided otherwise")
            click.echo(f"{len(samples)} different statements, {len(changes)} decided otherwise")
    raise SystemExit(EXIT_NEGATIVE if changes else 0)


def read_samples(data_dir: Path, last: int) -> list[Sample]:
    """Return the newest `last` statements of the trail, equal ones counted together.

    A statement whose session began before the trail does is left out: nobody knows its groups.
    """
    search = AuditSearch(data_dir)
    opened = search.find(Query(filters={"kind": "session.opened"}, limit=last))
    groups = {e.record["session"]: tuple(sorted(e.record["groups"])) for e in opened}
    seen: Counter[tuple[tuple[str, ...], str, str]] = Counter()
    for kind in ("statement.intent", "statement.refused"):
        for event in search.find(Query(filters={"kind": kind}, limit=last)):
            record: dict[str, Any] = event.record
            if record.get("session") in groups and record.get("sql"):
                seen[groups[record["session"]], str(record["target"]), str(record["sql"])] += 1
    return [Sample(who, target, sql, times) for (who, target, sql), times in seen.items()]


def _cut(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _SQL_SHOWN else f"{text[: _SQL_SHOWN - 1]}…"
