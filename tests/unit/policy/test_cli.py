"""`postern policy` as a user types it; catalogs come from a snapshot of canned answers."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli import policy_sources
from gateway.cli.policy import command
from gateway.sql.catalog import Catalog
from tests.unit.policy.world import POLICY, make_catalog, write_policy


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Return a runner in an empty directory, where every snapshot is the small database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTERN_CONFIG", raising=False)

    def read(_path: Path) -> Catalog:
        return make_catalog()

    monkeypatch.setattr(policy_sources, "read_snapshot", read)
    (tmp_path / "policies").mkdir()
    write_policy(tmp_path / "policies", POLICY)
    return CliRunner()


def call(run: CliRunner, *arguments: str) -> Result:
    """Run the command and fail on anything but a clean exit."""
    result = run.invoke(command, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_check_says_ok_or_lists_every_problem(run: CliRunner) -> None:
    """Goal: exit status and places for an editor. Method: a good and a bad directory."""
    good = call(run, "check", "policies")
    assert (good.exit_code, "ok, digest" in good.output) == (0, True)
    Path("policies/bad.yaml").write_text("version: 1\nmod: x\n")
    bad = call(run, "check", "policies")
    assert bad.exit_code == 1
    assert 'policies/bad.yaml:2:1: error: unknown key "mod"' in bad.output
    as_json = orjson.loads(call(run, "check", "policies", "--json").output)
    assert as_json["ok"] is False
    assert as_json["problems"][0]["line"] == 2


def test_check_with_a_catalog_finds_masks_without_columns(run: CliRunner) -> None:
    """Goal: what only the database can tell is told before activation."""
    Path("policies/policy.yaml").write_text(
        POLICY.replace("sales.customers.email", "sales.customers.mail")
    )
    assert call(run, "check", "policies").exit_code == 0
    result = call(run, "check", "policies", "--catalog", "orders=snapshot.json")
    assert result.exit_code == 1
    assert "has no column sales.customers.mail" in result.output


def test_explain_prints_the_decision_and_why(run: CliRunner) -> None:
    """Goal: decision, rules, effects, objects and masks, for people and programs."""
    arguments = ["--group", "readers", "--target", "orders", "--policies", "policies"]
    arguments += ["--catalog", "orders=snapshot.json"]
    result = call(run, "explain", "select id, email from customers", *arguments)
    assert result.exit_code == 0
    for word in ("allow", "read-sales", "rows.read", "sales.customers.email", "email"):
        assert word in result.output
    refused = call(run, "explain", "select * from salaries", *arguments, "--json")
    assert refused.exit_code == 1
    found = orjson.loads(refused.output)
    assert found["decision"]["error"]["id"] == "PN301"
    unknown = call(run, "explain", "select 1", *arguments[2:], "--group", "reader")
    assert unknown.exit_code == 1
    assert 'did you mean "readers"?' in unknown.output


def test_test_runs_the_tests_of_the_files(run: CliRunner) -> None:
    """Goal: exit status 1 as soon as one test fails."""
    arguments = ["policies", "--catalog", "orders=snapshot.json"]
    lines = "tests:\n  - {as: {groups: [readers]}, target: orders, sql: select 1, expect: "
    Path("policies/policy.yaml").write_text(POLICY + lines + "{decision: allow}}\n")
    assert call(run, "test", *arguments).exit_code == 0
    Path("policies/policy.yaml").write_text(POLICY + lines + "{decision: deny}}\n")
    failed = call(run, "test", *arguments)
    assert failed.exit_code == 1
    assert "decision allow, expected deny" in failed.output
    assert orjson.loads(call(run, "test", *arguments, "--json").output)["ok"] is False


def test_schema_is_json_schema_and_knows_every_section(run: CliRunner) -> None:
    """Goal: an editor can complete policy files."""
    schema = orjson.loads(call(run, "schema").output)
    sections = {"version", "groups", "grants", "denies", "guards", "masks", "limits", "tests"}
    assert sections <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_wrong_use_is_told(run: CliRunner) -> None:
    """Goal: usage errors are usage errors."""
    assert call(run, "check", "policies", "--catalog", "orders").exit_code == 2
    assert call(run, "explain", "select 1").exit_code == 2
