"""What is installed is complete: a page without its template fails only at the user's."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_data_file_is_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["gateway"]
    packaged = {path for pattern in patterns for path in (ROOT / "gateway").glob(pattern)}
    listed = subprocess.run(
        ["git", "ls-files", "gateway"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git work tree")
    data = {ROOT / line for line in listed.stdout.splitlines() if not line.endswith(".py")}
    assert {path for path in data if path.exists()} <= packaged


def test_what_is_locked_satisfies_what_is_declared() -> None:
    """Every dependency has a version in constraints.txt, so that two set-ups are the same."""
    lock = (ROOT / "constraints.txt").read_text()
    locked = {line.split("==")[0].lower() for line in lock.splitlines() if "==" in line}
    project = PROJECT["project"]
    extras = [item for group in project["optional-dependencies"].values() for item in group]
    for requirement in (*project["dependencies"], *extras):
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name.lower() in locked, requirement


def test_every_dependency_has_a_reason() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Dependencies")[2].lower()
    for requirement in PROJECT["project"]["dependencies"]:
        name = re.split(r"[\[<>=]", requirement)[0].lower()
        assert name in text, requirement
