"""The hand-written stubs of the compiled modules tell the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILED = sorted(path.stem for path in (ROOT / "_fastpath").glob("*.pyx"))
# What Cython adds to every module; a __cinit__ has no signature that can be inspected.
ALLOWED = r"""
_fastpath\..*\.__pyx_capi__
_fastpath\..*\.__test__
_fastpath\..*\.__init__
_fastpath\..*\.__reduce_cython__
_fastpath\..*\.__setstate_cython__
_fastpath\..*\.__pyx_vtable__
"""


STUBBED = [name for name in COMPILED if (ROOT / "_fastpath" / f"{name}.pyi").exists()]


def test_every_compiled_module_is_built() -> None:
    for name in COMPILED:
        assert [*(ROOT / "_fastpath").glob(f"{name}.*.so")], f"{name} is not built: make build"


def test_what_python_imports_has_a_stub() -> None:
    """Modules that only sibling extensions cimport need none: their contract is the .pxd."""
    pattern = re.compile(r"(?:from|import) _fastpath(?:\.| import )(\w+)")
    sources = [path for top in ("gateway", "tests", "bench") for path in (ROOT / top).rglob("*.py")]
    used = {name for path in sources for name in pattern.findall(path.read_text())}
    assert not (used & set(COMPILED)) - set(STUBBED)


@pytest.mark.timeout(180)
def test_stubs_match_the_compiled_modules(tmp_path: Path) -> None:
    allowlist = tmp_path / "allow"
    allowlist.write_text(ALLOWED)
    command = [sys.executable, "-m", "mypy.stubtest", "--ignore-unused-allowlist", "--concise"]
    # What a stub leaves out, mypy does not let anyone use.
    command += ["--ignore-disjoint-bases", "--ignore-missing-stub"]
    command += ["--allowlist", str(allowlist), *(f"_fastpath.{name}" for name in STUBBED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_says_nothing() -> None:
    """Goal: a warning at import is a defect. Method: import all as errors in a fresh process."""
    names = [f"_fastpath.{name}" for name in COMPILED]
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
