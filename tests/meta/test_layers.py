"""Imports go downwards only. The table is the one in docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Longest prefix wins. A module that is not named here has no place yet: give it one on purpose.
LEVELS = {
    "gateway.cli": 7,
    "gateway.demo": 7,
    "gateway.process": 6,
    "gateway.control": 6,
    "gateway.connector": 6,
    "gateway.session": 5,
    "gateway.identity": 4,
    "gateway.upstream": 4,
    "gateway.audit": 4,
    "gateway.approvals": 4,
    "gateway.policy": 3,
    "gateway.protocol": 2,
    "gateway.sql": 2,
    "gateway.ipc": 1,
    "gateway.config": 1,
    "gateway.config_build": 1,
    "gateway.config_credential": 1,
    "gateway.config_issuers": 1,
    "gateway.config_source": 1,
    "gateway.config_targets": 1,
    "gateway.config_values": 1,
    "gateway.limits": 1,
    "gateway.metrics": 1,
    "gateway.logs": 1,
    "gateway.errors": 0,
    "gateway.clock": 0,
    "gateway.units": 0,
    "gateway.text": 0,
    "_fastpath": 0,
    "gateway": 0,
}
FORBIDDEN = {
    # A decision that knows how it is sent could differ between paths.
    ("gateway.policy", "gateway.protocol"),
}
SIDEWAYS_ALLOWED = {
    # Within one level, only these packages know each other.
    ("gateway.process", "gateway.control"),  # starts it
    ("gateway.cli", "gateway.demo"),  # runs it
    ("gateway.upstream", "gateway.identity"),  # knows connectors by their certificates
    ("gateway.demo", "gateway.cli"),  # shows the same tables
}


def package_of(module: str) -> str:
    """Return the entry of LEVELS that `module` belongs to."""
    parts = module.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if name in LEVELS and (name != "gateway" or module == "gateway"):
            return name
    pytest.fail(f"{module} has no level: add it to the table here and in architecture.md")


def python_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import in a Python file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / inner.replace(".", "/")).with_suffix(".py").exists()
                yield node.lineno, inner if is_module or inner in LEVELS else node.module


def cython_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import and cimport in a Cython file."""
    pattern = re.compile(r"\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := pattern.match(line):
            yield number, match[1] or match[2]


def ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in {"gateway", "_fastpath"}


def sources() -> list[Path]:
    found = [*ROOT.glob("gateway/**/*.py")]
    for ending in ("py", "pyx", "pxd"):
        found += ROOT.glob(f"_fastpath/*.{ending}")
    return sorted(found)


def violations(path: Path, root: Path = ROOT) -> Iterator[str]:
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    mine = package_of(name)
    imports = python_imports(path) if path.suffix == ".py" else cython_imports(path)
    for line, target in imports:
        if not ours(target):
            continue
        theirs = package_of(target)
        pair = (mine, theirs)
        where = f"{path.relative_to(root)}:{line}: {mine} imports {target}"
        if pair in FORBIDDEN:
            yield f"{where}, which is forbidden"
        elif LEVELS[theirs] > LEVELS[mine]:
            yield f"{where}, upwards"
        elif (
            LEVELS[theirs] == LEVELS[mine] >= 2 and mine != theirs and pair not in SIDEWAYS_ALLOWED
        ):
            yield f"{where}, sideways"


def test_imports_go_downwards_only() -> None:
    found = [text for path in sources() for text in violations(path)]
    assert not found, "\n".join(found)


def test_the_compiled_core_knows_nothing_of_the_gateway() -> None:
    for path in ROOT.glob("_fastpath/*"):
        if path.suffix in {".py", ".pyx", ".pxd"}:
            imports = python_imports(path) if path.suffix == ".py" else cython_imports(path)
            assert not [name for _, name in imports if name.startswith("gateway")], path


def test_the_test_sees_a_violation(tmp_path: Path) -> None:
    """Goal: a silent checker is worse than none. Method: break each rule once."""
    for package, statement, word in (
        ("sql", "from gateway.policy import decide", "upwards"),
        ("policy", "from gateway.protocol.messages import build_error", "forbidden"),
        ("audit", "import gateway.approvals.store", "sideways"),
        ("policy", "def f():\n    from gateway.session import server", "upwards"),
    ):
        path = tmp_path / "gateway" / package / "bad.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(statement)
        assert word in "\n".join(violations(path, tmp_path))


def test_the_table_is_the_one_in_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = {
        int(match[1]): match[2]
        for match in re.finditer(r"^\| ([0-7]) \| (.+?) \|", text, re.MULTILINE)
    }
    for name, level in LEVELS.items():
        if name == "gateway":
            continue
        shown = name.replace(".", "/")
        assert f"`{shown}`" in rows[level] or f"`{shown}.py`" in rows[level], (level, name)
