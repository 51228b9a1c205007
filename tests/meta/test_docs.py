"""The documentation names everything there is, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.cli.main import COMMANDS
from gateway.cli.reference import PAGES, render
from gateway.config import Config, load_config
from gateway.config_source import ENV_OTHER, known_settings
from gateway.errors import ERRORS
from gateway.metrics import METRICS
from gateway.policy.load import load_bundle

ROOT = Path(__file__).parents[2]
PAGES_EXPECTED = {
    "architecture", "policy", "config", "operations", "protocol", "threat-model", "benchmarks",
    "errors", "metrics", "commands",
}  # fmt: skip
TEXTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE")


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_up_to_date(page: str) -> None:
    written = (ROOT / "docs" / f"{page}.md").read_text()
    assert written == render(page), f"docs/{page}.md is out of date: run `make docs`"


def test_every_setting_error_metric_and_command_is_documented() -> None:
    """The generated pages come from the same tables; this holds if one stops being generated."""
    pages = {page: (ROOT / "docs" / f"{page}.md").read_text() for page in PAGES}
    for known in known_settings(Config):
        assert f"`{known.dotted}`" in pages["config"]
        assert f"`{known.env}`" in pages["config"]
        assert known.setting.help in pages["config"]
    for name, cls in ERRORS.items():
        assert re.search(rf"\| {name} \| {cls.severity} \| {cls.sqlstate} \|", pages["errors"])
    for metric in METRICS:
        assert f"`{metric.name}`" in pages["metrics"]
    for name in COMMANDS:
        assert f"## `postern {name}" in pages["commands"]


def test_every_page_is_there() -> None:
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} >= PAGES_EXPECTED
    for name in TEXTS:
        assert (ROOT / name).stat().st_size > 200, name


def test_links_lead_somewhere() -> None:
    found = []
    for path in documents():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            elsewhere = target.startswith(("http://", "https://", "mailto:"))
            if not elsewhere and not (path.parent / target).exists():
                found.append(f"{path.name}: {target}")
    assert not found, "\n".join(found)


def test_paths_that_are_named_exist() -> None:
    """A renamed module must be renamed in the prose as well."""
    found = []
    pattern = re.compile(r"`((?:gateway|_fastpath|tests|bench|policies|docker)/[\w./-]+\.\w+)`")
    for path in documents():
        found += [
            f"{path.name}: {name}"
            for name in pattern.findall(path.read_text())
            if not (ROOT / name).exists()
        ]
    assert not found, "\n".join(found)


def test_error_ids_that_are_named_exist() -> None:
    found = [
        f"{path.name}: {name}"
        for path in documents()
        for name in re.findall(r"\bPN\d{3}\b", path.read_text())
        if name not in ERRORS
    ]
    assert not found, "\n".join(found)


def test_settings_that_are_named_exist() -> None:
    """Goal: no document recommends a variable that the loader refuses."""
    patterns = [known.env.replace("<NAME>", "[A-Z0-9_]+") for known in known_settings(Config)]
    allowed = re.compile("|".join(patterns))
    for path in documents():
        for name in re.findall(r"\bPOSTERN_[A-Z0-9_]+[A-Z0-9]\b", path.read_text()):
            assert name in ENV_OTHER or name == "POSTERN_SECTION_KEY" or allowed.fullmatch(name), (
                f"{path.name}: {name}"
            )


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in documents():
        for name in re.findall(r"`make ([a-z-]+)", path.read_text()):
            assert name in targets, f"{path.name}: make {name}"


def blocks(language: str, start: str) -> list[tuple[Path, str]]:
    """Return the fenced blocks of `language` in all documents that begin with `start`."""
    fence = re.compile(rf"^( *)```{language}\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    return [
        (path, match[2])
        for path in documents()
        for match in fence.finditer(path.read_text())
        if match[2].lstrip().startswith(start)
    ]


def test_policies_that_are_shown_load(tmp_path: Path) -> None:
    shown = blocks("yaml", "version: 1")
    assert shown
    for number, (path, text) in enumerate(shown):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / f"{path.stem}.yaml").write_text(text)
        load_bundle(directory, targets=["orders"], issuers=["corp"])


def test_configurations_that_are_shown_load(tmp_path: Path) -> None:
    shown = blocks("toml", "[")
    assert shown
    for path, text in shown:
        file = tmp_path / f"{path.stem}.toml"
        file.write_text(text)
        load_config(file, {})
