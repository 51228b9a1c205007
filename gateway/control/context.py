"""What the control process is started with.

Kept apart from the application so that whoever forks the process imports this and nothing else:
Starlette and uvicorn are loaded only in the child that needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.config import Config
    from gateway.ipc.epochs import Epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlContext:
    """Everything of the outside that `run_control` uses."""

    config: Config
    epochs: Epochs
    journal_path: Path  # control.ring: this process is its only producer
    data_dir: Path
    reload: Callable[[], None] | None = None  # has the supervisor read the policies again
