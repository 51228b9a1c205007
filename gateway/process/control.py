"""The control process: HTTP API, approvals, keys. Its work is in `gateway.control`."""

from __future__ import annotations

import asyncio
import os
import signal

from gateway.control.context import ControlContext
from gateway.errors import InvariantError
from gateway.process.child import ChildContext
from gateway.process.loop import run_loop


def control_main(context: ChildContext) -> None:
    """Serve the control plane until SIGTERM."""
    supervisor = os.getppid()  # the child dies with it, so the number stays its own

    async def body(stop: asyncio.Event) -> None:
        # Only this process pays for the HTTP stack.
        from gateway.control.serve import run_control  # noqa: PLC0415

        await run_control(
            ControlContext(
                config=context.config,
                epochs=context.epochs,
                journal_path=context.journal_path,
                data_dir=context.data_dir,
                reload=lambda: os.kill(supervisor, signal.SIGHUP),
            ),
            stop,
        )
        if not stop.is_set():
            raise InvariantError("control returned without being told to stop")

    run_loop(context, body, fast=True)
