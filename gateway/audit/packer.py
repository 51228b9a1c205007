"""Pack closed segments beside the writer, in a thread: compressing and fsync need no GIL.

Packing only saves space. What fails stays plain and is tried again at the next rotation.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

from gateway.audit.packing import SUFFIX, pack_file
from gateway.audit.segments import list_segments, read_opening, segment_number
from gateway.logs import get_logger

_LOG = get_logger("audit")


class Packer:
    """Owned by the writer. `start` after a rotation; `stop` before the directory's lock goes."""

    def __init__(self, directory: Path, *, is_on: bool = True) -> None:
        self._directory = directory
        self._is_on = is_on
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Pack all segments that are closed now, unless that is under way."""
        if not self._is_on:
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="audit-packer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        for path, following in pairwise(list_segments(self._directory)):
            if self._stopping.is_set():
                return
            if path.suffix == SUFFIX:
                continue
            try:
                # A segment without its root was damaged: it stays as it is, as evidence.
                if read_opening(following).get("previous_root"):
                    pack_file(path)
            except (OSError, ValueError) as error:
                _LOG.warning("segment %s stays plain: %s", segment_number(path), error)
                return

    def stop(self) -> None:
        """Return once nothing is being packed. Safe to call twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
