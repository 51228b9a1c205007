"""Do something in a forked process and take its answer.

For the supervisor, which must have neither an event loop nor a thread when it forks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import orjson

from gateway.process.exits import EXIT_FAILED, EXIT_OK, StartError

_TIMEOUT_S = 120


def call_apart(work: Callable[[], Any]) -> Any:
    """Return what `work()` returns, as JSON carries it; raises StartError when it fails."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work_and_exit(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise StartError("a check of the targets did not end well, see the log")
    return orjson.loads(answer)


def _work_and_exit(work: Callable[[], Any], writer: int) -> None:
    code = EXIT_FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(_TIMEOUT_S)
        answer = orjson.dumps(work())
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
        code = EXIT_OK
    finally:
        os._exit(code)
