"""Compiled code gives back what it takes, on good rows and on refused ones."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys

import pytest

from _fastpath.datarow import CellMask, MaskPlan, parse_row_description
from _fastpath.errors import FrameError
from _fastpath.fingerprint import fingerprint
from tests.support.reference import build_row

KEY = b"0123456789abcdef"


def once(plan: MaskPlan, rows: bytes) -> None:
    plan.rewrite_bytes(rows)
    with pytest.raises(FrameError):
        plan.rewrite_bytes(rows + b"D\0\0\0\7\0\2x")
    with pytest.raises(FrameError):
        parse_row_description(b"\0\1name\0short")
    with pytest.raises(ValueError, match="fit"):
        MaskPlan([CellMask(kind="email", type_oid=23)])
    assert fingerprint(rows) is None
    assert fingerprint(b"select 1 " * 1000) is not None


# Its allocator keeps freed memory aside on purpose, to catch late reads.
IS_SANITIZED = hasattr(ctypes.CDLL(None), "__asan_init")


@pytest.mark.skipif(IS_SANITIZED, reason="the address sanitizer holds freed memory back")
def test_nothing_is_kept() -> None:
    """Goal: no leak per call. Method: peak memory after warming up, then after 40 times as much."""
    columns = [CellMask(kind="hash", type_oid=25, key=KEY), CellMask(kind="redact", type_oid=25)]
    rows = build_row([b"a" * 500, b"b" * 500]) * 100
    for _ in range(50):
        once(MaskPlan(columns), rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(400):
        once(MaskPlan(columns), rows)
    # One 100 kB buffer kept per round would be 40 MB; kB are the unit on Linux.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


def test_exit_is_silent() -> None:
    code = (
        "from _fastpath.datarow import CellMask, MaskPlan\n"
        "plan = MaskPlan([CellMask(kind='redact', type_oid=25)])\n"
        "import _fastpath.framing, _fastpath.fingerprint, _fastpath.outbuf\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stderr == ""
    assert done.stdout == ""
