"""Keep credentials in memory from leaving it with a core dump or another process's reading.

Python cannot zero what it held: text and bytes are copied by every operation. So the memory as a
whole is kept in.
"""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_core_dumps() -> None:
    """For this process and all it forks: no core, and no reading of its memory without root."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Also where a core goes to a pipe, which no limit on its size prevents.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
