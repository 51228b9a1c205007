"""Generations are exact over processes; heartbeats age."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.ipc.epochs import CATALOG, HEARTBEATS, POLICY, Epochs


def test_bump_is_seen_through_another_mapping(tmp_path: Path) -> None:
    """Goal: all processes see one value. Method: two mappings of one file."""
    first = Epochs.create(tmp_path / "run" / "epochs")
    second = Epochs.open(first.path)
    assert first.bump(POLICY) == 1
    assert second.get(POLICY) == 1
    assert second.get(CATALOG) == 0
    second.buffer[CATALOG] = 7
    assert first.get(CATALOG) == 7


def test_no_bump_is_lost_between_processes(tmp_path: Path) -> None:
    """Goal: a bump is never swallowed. Method: four forked children bump at the same time."""
    epochs = Epochs.create(tmp_path / "epochs")
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            for _ in range(200):
                epochs.bump(CATALOG)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert epochs.get(CATALOG) == 800


def test_heartbeat_age(tmp_path: Path) -> None:
    """Goal: no beat and an old beat are told apart. Method: beat, age by hand, clear."""
    epochs = Epochs.create(tmp_path / "epochs")
    assert epochs.beat_age_s(3) is None
    epochs.beat(3)
    age_s = epochs.beat_age_s(3)
    assert age_s is not None
    assert age_s < 5
    epochs.buffer[HEARTBEATS + 3] -= 20_000_000_000
    aged_s = epochs.beat_age_s(3)
    assert aged_s is not None
    assert aged_s > 19
    epochs.clear_beat(3)
    assert epochs.beat_age_s(3) is None


def test_file_of_another_size_is_refused(tmp_path: Path) -> None:
    """Goal: a foreign file is no epochs file. Method: open one of 8 bytes."""
    (tmp_path / "epochs").write_bytes(bytes(8))
    with pytest.raises(OSError, match="not an epochs file"):
        Epochs.open(tmp_path / "epochs")
