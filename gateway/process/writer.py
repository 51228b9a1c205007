"""The writer process: journals to hash-chained segments. Its work is in `gateway.audit`."""

from __future__ import annotations

import signal

from gateway.audit.writer import AuditWriter, WriterSettings
from gateway.process.child import ChildContext


def writer_main(context: ChildContext) -> None:
    """Drain the journals until SIGTERM, then once more to the end."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    settings = WriterSettings(is_group=context.config.audit.durability == "group")
    writer = AuditWriter(context.data_dir, settings)
    writer.run(lambda: stopping, lambda: context.epochs.beat(context.slot))
