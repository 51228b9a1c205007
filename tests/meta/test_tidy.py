"""Small files, small functions, no short cuts.

Limits are ratchets: a file that is over one is listed with its size and may only shrink.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PY_LINES_MAX = 400
PY_LINES_HARD_MAX = 600
PYX_LINES_MAX = 500
PXD_LINES_MAX = 60
FUNCTION_LINES_MAX = 60
CDEF_LINES_MAX = 50

# path -> lines it may have; remove the entry when the file is within the limit.
FILES_OVER: dict[str, int] = {}
# "path::function" -> lines it may have.
FUNCTIONS_OVER: dict[str, int] = {}

PRINT_ALLOWED = ("gateway/cli/", "gateway/demo/", "bench/", "tests/")
# Sleeping threads outside any event loop.
SLEEP_ALLOWED = ("gateway/demo/", "bench/", "tests/")


def tracked(*endings: str) -> list[Path]:
    """Return the files of the project; without git, what lies there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        tops = ("gateway", "_fastpath", "tests", "bench", "docs", "policies", "docker")
        paths = [path for top in tops for path in (ROOT / top).rglob("*")]
        paths += ROOT.glob("*.*")
    return sorted(path for path in paths if path.suffix in endings and path.is_file())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def over(found: dict[str, int], limit: int, allowed: dict[str, int]) -> list[str]:
    return [
        f"{name}: {lines} lines, allowed {allowed.get(name, limit)}"
        for name, lines in found.items()
        if lines > allowed.get(name, limit)
    ]


def line_counts(*endings: str) -> dict[str, int]:
    return {name_of(path): len(path.read_text().splitlines()) for path in tracked(*endings)}


def python_functions() -> Iterator[tuple[str, int]]:
    for path in tracked(".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{name_of(path)}::{node.name}", node.end_lineno - node.lineno + 1


def cython_functions(text: str) -> Iterator[tuple[str, int]]:
    """Yield name and length of every function in Cython source, by indentation."""
    head = re.compile(r"( *)(?:cdef|cpdef|def|async def)\s(?!class\s)[^=]*?(\w+)\(")
    lines = text.splitlines()
    for start, line in enumerate(lines):
        match = head.match(line)
        if not match or line.rstrip().endswith(")") or "extern" in line:
            continue
        depth, last = len(match[1]), start
        opened = False
        for number in range(start + 1, len(lines)):
            body = lines[number]
            if not body.strip():
                continue
            indent = len(body) - len(body.lstrip())
            if indent <= depth and opened:
                break
            if indent > depth:
                opened = opened or lines[number - 1].rstrip().endswith(":")
                last = number
            elif not body.lstrip().startswith(")"):
                break
        yield match[2], last - start + 1


def test_files_are_small() -> None:
    python = line_counts(".py")
    found = over(python, PY_LINES_MAX, FILES_OVER)
    found += over(line_counts(".pyx"), PYX_LINES_MAX, FILES_OVER)
    found += over(line_counts(".pxd"), PXD_LINES_MAX, FILES_OVER)
    found += [
        f"{name}: above the hard limit" for name, n in python.items() if n > PY_LINES_HARD_MAX
    ]
    assert not found, "\n".join(found)


def test_functions_are_small() -> None:
    found = over(dict(python_functions()), FUNCTION_LINES_MAX, FUNCTIONS_OVER)
    for path in tracked(".pyx"):
        named = {f"{name_of(path)}::{n}": size for n, size in cython_functions(path.read_text())}
        found += over(named, CDEF_LINES_MAX, FUNCTIONS_OVER)
    assert not found, "\n".join(found)


def test_the_ratchet_only_tightens() -> None:
    """An entry that is no longer needed, or allows more than there is, must go."""
    counts = line_counts(".py", ".pyx", ".pxd")
    for name, allowed in FILES_OVER.items():
        limit = {".py": PY_LINES_MAX, ".pyx": PYX_LINES_MAX}.get(Path(name).suffix, PXD_LINES_MAX)
        assert counts.get(name) == allowed > limit, f"{name}: now {counts.get(name)}"
    functions = dict(python_functions())
    for path in tracked(".pyx"):
        for function, size in cython_functions(path.read_text()):
            functions[f"{name_of(path)}::{function}"] = size
    for name, allowed in FUNCTIONS_OVER.items():
        assert functions.get(name) == allowed, f"{name}: now {functions.get(name)}"


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_no_print_and_no_sleep() -> None:
    found = []
    for path in tracked(".py"):
        name = name_of(path)
        for line, call in calls(path):
            if call == "print" and not name.startswith(PRINT_ALLOWED):
                found.append(f"{name}:{line}: print")
            if call == "time.sleep" and not name.startswith(SLEEP_ALLOWED):
                found.append(f"{name}:{line}: time.sleep")
    assert not found, "\n".join(found)


def test_every_task_has_an_owner() -> None:
    """`create_task` of the loop or of asyncio makes a task nobody waits for."""
    found = [
        f"{name_of(path)}:{line}: {call}"
        for path in tracked(".py")
        if name_of(path).startswith("gateway/")
        for line, call in calls(path)
        if call in {"asyncio.create_task", "loop.create_task", "asyncio.ensure_future"}
    ]
    assert not found, "\n".join(found)


def test_no_error_is_swallowed() -> None:
    found = []
    for path in tracked(".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler) or not name_of(path).startswith("gateway/"):
                continue
            broad = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            silent = all(isinstance(item, ast.Pass | ast.Continue) for item in node.body)
            if broad and silent:
                found.append(f"{name_of(path)}:{node.lineno}: except and pass")
    assert not found, "\n".join(found)


def test_no_open_ends() -> None:
    """A to-do belongs in an issue; the comment may then name its number."""
    open_end = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b(?!.*#\d+)")
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in tracked(".py", ".pyx", ".pxd", ".pyi", ".md", ".toml", ".yaml")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if open_end.search(line)
    ]
    assert not found, "\n".join(found)


def test_cython_conventions() -> None:
    """No include, no DEF, no bare `cdef f(self)`: that returns a Python None."""
    found = []
    for path in tracked(".pyx", ".pxd"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{name_of(path)}:{number}"
            if re.match(r"\s*(include\s+[\"']|DEF\s)", line):
                found.append(f"{where}: include or DEF")
            if re.match(r"\s*cdef\s+(?:inline\s+)?\w+\(", line):
                found.append(f"{where}: cdef function without a return type")
            if "boundscheck" in line or "wraparound" in line:
                found.append(f"{where}: directives live in setup.py")
    assert not found, "\n".join(found)


def test_modules_say_what_they_are() -> None:
    found = []
    for path in tracked(".py"):
        name = name_of(path)
        if not name.startswith(("gateway/", "_fastpath/")):
            continue
        text = path.read_text()
        if not ast.get_docstring(ast.parse(text)):
            found.append(f"{name}: no module docstring")
        if path.name != "__init__.py" and "from __future__ import annotations" not in text:
            found.append(f"{name}: no `from __future__ import annotations`")
    assert not found, "\n".join(found)


def test_nothing_of_one_machine_is_in_the_project() -> None:
    """Absolute homes and work trees, credentials in URLs, names of package mirrors."""
    pattern = re.compile(
        r"(?<![\w.])/(?:home|root|Users)/\w|(?<![\w./])/wo" + r"rk/|pip\.conf|find-links|index-url"
    )
    found = []
    endings = (".py", ".pyx", ".pxd", ".pyi", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", "")
    for path in tracked(*endings):
        if path == Path(__file__) or path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_the_function_finder_finds() -> None:
    source = (
        "cdef int f(\n    int a\n) noexcept nogil:\n    return a\n\n\n"
        "cdef class C:\n    cdef int x\n\n    def g(self):\n        pass\n\n        return 1\n"
    )
    assert dict(cython_functions(source)) == {"f": 4, "g": 4}
