"""Run the control process alone: what the supervisor's child does, without the others."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from gateway.config import load_config
from gateway.control.context import ControlContext
from gateway.control.serve import run_control
from gateway.ipc import paths
from gateway.ipc.epochs import Epochs


async def main(config_path: Path) -> None:
    config = load_config(config_path, {})
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_control(
        ControlContext(
            config=config,
            epochs=Epochs.open(paths.epochs_file(config.data_dir)),
            journal_path=paths.journal_file(config.data_dir, "control"),
            data_dir=config.data_dir,
        ),
        stop,
    )


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
