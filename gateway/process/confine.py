"""Bounds the kernel keeps for an analyzer: CPU per statement, memory, a process to throw away."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gateway.process.child import tie_to_parent
from gateway.process.exits import EXIT_FAILED, EXIT_OK

CPU_S_MAX: Final = 2.0
MEMORY_BYTES_MAX: Final = 4 << 30  # address space; a worker-sized process maps about 0.5 GiB
INLINE_SQL_BYTES_MAX: Final = 16 << 10
ANSWER_BYTES_MAX: Final = 16 << 20
_NICE: Final = 10  # sessions of other clients come first


class WorkDied(Exception):
    """The forked process ended without an answer: killed by a limit or by a crash."""


def limit_memory() -> None:
    """Let allocations beyond the limit fail instead of taking the host's memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = MEMORY_BYTES_MAX if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES_MAX, hard)
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    # A crash here is expected now and then; its core would hold SQL texts.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def cpu_limit(seconds: float = CPU_S_MAX) -> Iterator[None]:
    """Let the kernel end this process when the block uses more CPU than `seconds`.

    No handler: inside the parser's C code none would run. The caller's mark in the crash
    memory says afterwards which text it was.
    """
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


async def run_apart(work: Callable[[], bytes], *, timeout_s: float) -> bytes:
    """Return `work()` as computed by a forked process that may die of it.

    Raises WorkDied when it does, TimeoutError when it takes too long. The caller's loop goes
    on meanwhile.
    """
    loop = asyncio.get_running_loop()
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    parent = os.getpid()
    # Threads that look names up may exist here. The copy never needs what they could hold:
    # it computes, writes to its pipe and leaves.
    pid = os.fork()
    if pid == 0:
        _work_and_exit(work, writer, parent)
    os.close(writer)
    finished: asyncio.Future[None] = loop.create_future()
    answer = bytearray()

    def on_readable() -> None:
        try:
            chunk = os.read(reader, 1 << 16)
        except BlockingIOError:
            return
        answer.extend(chunk)
        if not chunk or len(answer) > ANSWER_BYTES_MAX:
            loop.remove_reader(reader)
            if not finished.done():
                finished.set_result(None)

    loop.add_reader(reader, on_readable)
    try:
        async with asyncio.timeout(timeout_s):
            await finished
    finally:
        loop.remove_reader(reader)
        os.close(reader)
        # After its last byte it only exits; in every other case it is not wanted any more.
        if not finished.done() or len(answer) > ANSWER_BYTES_MAX:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Ends at once: its pipe is closed, or it was killed.
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222
    if status != 0:
        raise WorkDied(f"wait status {status}")
    return bytes(answer)


def _work_and_exit(work: Callable[[], bytes], writer: int, parent: int) -> None:
    code = EXIT_FAILED
    try:
        tie_to_parent(parent)
        os.nice(_NICE)
        os.set_blocking(writer, True)
        with cpu_limit():
            answer = work()
        view = memoryview(answer)
        while view:
            view = view[os.write(writer, view) :]
        code = EXIT_OK
    finally:
        # The parent's loop, sockets and exit hooks are not this process's.
        os._exit(code)
