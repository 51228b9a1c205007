"""`postern policy`: check, test and explain policies before they are in force.

`check` needs files only; `test` and `explain` need a catalog, from the live targets of the
configuration or from a snapshot taken with `postern policy snapshot`.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click
import orjson

from gateway.cli.output import (
    EXIT_NEGATIVE,
    config_option,
    json_option,
    print_json,
    print_result,
    print_table,
)
from gateway.cli.policy_diff import diff_command
from gateway.cli.policy_sources import Sources, catalog_option, parse_catalogs
from gateway.errors import PolicyError
from gateway.policy.decision import DecideRequest
from gateway.policy.model import Policy

directory_argument = click.argument(
    "directory", required=False, type=click.Path(file_okay=False, path_type=Path)
)


@click.group()
def command() -> None:
    """Check, test, explain and compare policies."""


command.add_command(diff_command)


@command.command()
@directory_argument
@config_option
@catalog_option
@click.option("--live", is_flag=True, help="Also compare with the databases of the configuration.")
@json_option
def check(
    directory: Path | None,
    config_path: Path | None,
    catalogs: tuple[str, ...],
    live: bool,
    as_json: bool,
) -> None:
    """Validate the policy files in DIRECTORY. Exit status 1 means problems.

    With a configuration, targets and issuers must be among its own; with a catalog, masks must
    fit columns.
    """
    sources = Sources(config_path, parse_catalogs(catalogs))
    try:
        bundle = sources.load(directory)
        problems, warnings, digest = [], list(bundle.warnings), bundle.digest
        if live or catalogs:
            engine = sources.engine(bundle, live=live)
            problems, warnings = list(engine.problems), list(engine.warnings)
    except PolicyError as error:
        problems, warnings, digest = error.problems, [], ""
    found = [("error", p) for p in problems] + [("warning", w) for w in warnings]
    if as_json:
        items = [{"severity": kind, **dataclasses.asdict(problem)} for kind, problem in found]
        print_json({"ok": not problems, "digest": digest, "problems": items})
    else:
        for kind, problem in found:
            click.echo(f"{problem.where}: {kind}: {problem.message}")
        if not problems:
            click.echo(f"ok, digest {digest[:12]}, {len(warnings)} warnings")
    raise SystemExit(EXIT_NEGATIVE if problems else 0)


@command.command()
@directory_argument
@config_option
@catalog_option
@json_option
def test(
    directory: Path | None,
    config_path: Path | None,
    catalogs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the tests of the policy files. Exit status 1 when one of them fails.

    Catalogs come from the databases of the configuration, or from snapshots: --catalog
    orders=orders.json.
    """
    from gateway.policy.explain import run_tests

    sources = Sources(config_path, parse_catalogs(catalogs))
    try:
        bundle = sources.load(directory)
        engine = sources.engine(bundle, live=True, only={t.target for t in bundle.policy.tests})
        results = run_tests(engine)
    except PolicyError as error:
        _report(error, as_json=as_json)
    failed = [result for result in results if result.problem]
    problems = list(engine.problems)
    ok = not failed and not problems
    if as_json:
        print_json(
            {
                "ok": ok,
                "tests": [dataclasses.asdict(result) for result in results],
                "problems": [str(problem) for problem in problems],
            }
        )
    else:
        for problem in problems:
            click.echo(f"{problem.where}: error: {problem.message}")
        rows = [(r.where, "FAIL" if r.problem else "ok", r.got, r.sql, r.problem) for r in results]
        print_table(("TEST", "RESULT", "DECISION", "SQL", "PROBLEM"), rows, empty="no tests")
        click.echo(f"{len(results) - len(failed)} of {len(results)} passed")
    raise SystemExit(0 if ok else EXIT_NEGATIVE)


@command.command()
@click.argument("sql")
@click.option("--group", "--as", "groups", multiple=True, help="Policy group; repeatable.")
@click.option("--target", required=True, help="Target of the configuration.")
@click.option("--requested", default="", help="Profile asked for: read or write.")
@click.option("--search-path", default="", help="Schemas, separated by commas.")
@click.option(
    "--policies",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of policy files; default: the configuration's.",
)
@config_option
@catalog_option
@json_option
def explain(
    sql: str,
    groups: tuple[str, ...],
    target: str,
    requested: str,
    search_path: str,
    directory: Path | None,
    config_path: Path | None,
    catalogs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what would happen to SQL for members of the groups, and why. `-` reads it from stdin.

    Exit status 0: allowed or held for approval; 1: refused.
    """
    from gateway.policy.explain import Explanation, principal_in
    from gateway.policy.explain import explain as explain_statement

    sources = Sources(config_path, parse_catalogs(catalogs))
    text = sys.stdin.buffer.read() if sql == "-" else sql.encode(errors="surrogateescape")
    try:
        bundle = sources.load(directory)
        engine = sources.engine(bundle, live=True, only={target})
        found: Explanation = explain_statement(
            engine,
            DecideRequest(
                principal=principal_in(bundle, groups),
                target=target,
                requested=requested,
                sql=text,
                search_path=tuple(s.strip() for s in search_path.split(",") if s.strip()),
            ),
        )
    except PolicyError as error:
        _report(error, as_json=as_json)
    decision = found.decision
    if as_json:
        print_json(
            {
                "decision": decision.to_wire(),
                "groups": found.groups,
                "level": found.level,
                "statements": [dataclasses.asdict(line) for line in found.statements],
            }
        )
    else:
        from gateway.cli.policy_view import print_explanation

        print_explanation(found)
    raise SystemExit(EXIT_NEGATIVE if decision.action == "deny" else 0)


@command.command()
@click.option("--target", required=True, help="Target of the configuration.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="File to write.",
)
@config_option
def snapshot(target: str, output: Path, config_path: Path | None) -> None:
    """Keep a target's catalog in a file, for `test` and `explain` without a database.

    The file holds names, types and definitions, and no row of any user table.
    """
    sources = Sources(config_path, {})
    data = sources.snapshot(target)
    output.write_bytes(data)
    click.echo(f"{output}: {len(data)} bytes")


@command.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    document = Policy.model_json_schema(by_alias=True)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "Postern policy file"
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _report(error: PolicyError, *, as_json: bool) -> None:
    """Print the problems of a bundle that cannot be used, and exit with status 1."""
    rows = [(problem.where, problem.message) for problem in error.problems]
    print_result(
        {"ok": False, "problems": [dataclasses.asdict(problem) for problem in error.problems]},
        as_json=as_json,
        columns=("WHERE", "PROBLEM"),
        rows=rows,
    )
    raise SystemExit(EXIT_NEGATIVE)
