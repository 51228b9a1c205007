"""The first steps of a forked process: own signals, tied to its parent's life, an exit code."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gateway import metrics
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.ipc import paths
from gateway.ipc.crash_memory import CrashMemory
from gateway.ipc.epochs import Epochs
from gateway.logs import configure, get_logger
from gateway.process.exits import EXIT_BOOT, EXIT_BUG, EXIT_OK, StartError

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_DEFAULTED = (
    signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
)  # fmt: skip
# A terminal sends these to the whole process group; the supervisor alone acts on them.
_IGNORED = (signal.SIGINT, signal.SIGHUP)

log = get_logger("process")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildContext:
    """What a process main gets."""

    config: Config
    kind: str  # worker | analyzer | writer | control
    number: int
    slot: int  # index of its heartbeat
    generation: int  # counts the lives of this process, from 1
    data_dir: Path
    epochs: Epochs
    crashes: CrashMemory
    sockets: tuple[socket.socket, ...]
    drain_s: float

    @property
    def name(self) -> str:
        """`worker-0`, `writer`: as in logs, records and file names."""
        return process_name(self.kind, self.number)

    @property
    def journal_path(self) -> Path:
        """Ring this process is the only producer of."""
        return paths.journal_file(self.data_dir, self.name)


Main = Callable[[ChildContext], None]


def process_name(kind: str, number: int) -> str:
    """Name of a process; kinds of which one exists carry no number."""
    return f"{kind}-{number}" if kind in {"worker", "analyzer"} else kind


def fork_child(main: Main, context: ChildContext, *, close: Sequence[socket.socket] = ()) -> int:
    """Start `main(context)` in a new process without the sockets `close`; return its id."""
    parent = os.getpid()
    # A signal between fork and the reset below would run the parent's handlers in the child.
    every = signal.valid_signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, every)
    try:
        pid = os.fork()
        if pid == 0:
            _run_child(main, context, parent, close)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def tie_to_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent` dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        # It died before the request took effect.
        os._exit(EXIT_BUG)


def _run_child(
    main: Main, context: ChildContext, parent: int, close: Sequence[socket.socket]
) -> NoReturn:
    code = EXIT_BUG
    try:
        for sock in close:
            sock.close()
        signal.set_wakeup_fd(-1)
        for number in _DEFAULTED:
            signal.signal(number, signal.SIG_DFL)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        tie_to_parent(parent)
        _set_name(context.name)
        configure(context.name)
        metrics.open_process(context.data_dir, context.name)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        main(context)
        code = EXIT_OK
    except (StartError, ConfigError) as error:
        log.error("%s: %s", context.name, error)  # noqa: TRY400  one line, no trace
        code = EXIT_BOOT
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else EXIT_BUG
    except BaseException:
        log.exception("%s ends on an unexpected error", context.name)
    finally:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # No atexit hooks and no unwinding: both belong to the supervisor's life.
        os._exit(code)


def _set_name(name: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"pn-{name}".encode()[:15], 0, 0, 0)
