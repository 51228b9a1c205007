"""The command line as a person meets it: exit status, one clear line, JSON for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway.cli import main, output
from gateway.cli.main import COMMANDS, cli
from gateway.cli.reference import PAGES, render
from gateway.errors import PolicyError, Problem, UpstreamError


def postern(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli.main", *args]
    root = Path(__file__).parents[3]
    return subprocess.run(
        command, cwd=cwd, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )


def test_config_show(tmp_path: Path) -> None:
    (tmp_path / "postern.toml").write_text("[pool]\nsize = 7\n")
    done = postern("config", "show", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = {item["path"]: item for item in json.loads(done.stdout)}
    assert shown["pool.size"] == {"path": "pool.size", "value": "7", "source": "postern.toml:2"}
    assert shown["pool.mode"]["source"] == "default"
    table = postern("config", "show", cwd=tmp_path).stdout.splitlines()
    assert table[0].split() == ["SETTING", "VALUE", "SOURCE"]
    assert ["pool.size", "7", "postern.toml:2"] in [line.split() for line in table]


def test_a_config_error_is_one_line_and_status_78(tmp_path: Path) -> None:
    (tmp_path / "postern.toml").write_text("[pool]\nsiez = 7\n")
    done = postern("config", "show", cwd=tmp_path)
    assert done.returncode == 78
    assert done.stderr == (
        "postern: postern.toml:2: unknown key pool.siez; the nearest known one is size\n"
    )


def fail(error: Exception) -> Callable[[], None]:
    def callback() -> None:
        raise error

    return callback


def test_other_errors_of_ours_are_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(error: Exception) -> int:
        command = click.Command("explode", callback=fail(error))
        monkeypatch.setattr(main, "cli", lambda prog_name: command.main([], prog_name=prog_name))
        with pytest.raises(SystemExit) as caught:
            main.main()
        return int(str(caught.value.code))

    assert explode(UpstreamError("orders: connection refused")) == 1
    assert explode(PolicyError([Problem("p.yaml", 1, 1, "no")])) == 78


def test_wrong_usage_is_status_2(tmp_path: Path) -> None:
    done = postern("config", "shwo", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


def test_help_imports_no_command() -> None:
    """Goal: `postern --help` stays quick. Method: look at what it imported."""
    code = (
        "import sys\nfrom gateway.cli.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "heavy = {'rich', 'uvloop', 'pglast', 'starlette', 'asyncio', 'gateway.config'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_unknown_page_of_the_reference_is_usage() -> None:
    assert CliRunner().invoke(cli, ["config", "reference", "none"]).exit_code == 2
    assert CliRunner().invoke(cli, ["config", "reference"]).output == render("config")
    assert list(PAGES) == ["config", "errors", "metrics", "commands"]


def test_data_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: a statement shown in a table is text, not markup and not control sequences."""
    output.print_table(["SQL"], [["select '[red]x[/red]'\x1b[2J\n--"]])
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2


def test_wide_cells_are_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["SQL"], [["x" * 150]])
    assert "x" * 150 in capsys.readouterr().out
    output.print_table(["SQL"], [], empty="no statements")
    assert capsys.readouterr().out == "no statements\n"
