"""Clocks, durations, sizes and the count of usable CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import SYSTEM_CLOCK, ManualClock, format_time, now_us
from gateway.limits import usable_cpus
from gateway.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("250ms", 0.25), ("1h30m", 5400), ("400d", 34_560_000), ("0", 0), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "15", "s", "15 s", "-5s", "1e9s", "5x", "1h 30m", "٣s", "5s\n"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_sizes() -> None:
    assert [parse_size(text) for text in ("8MiB", "500kB", "7B")] == [8 << 20, 500_000, 7]


@pytest.mark.parametrize("text", ["", "8", "8mib", "8 MiB", "-1B", "1.5MiB", "9" * 99 + "B"])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize("seconds", [0, 0.25, 1, 15, 90, 3600, 86_400, 34_560_000])
def test_duration_round_trip(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("size", [0, 7, 1024, 8 << 20, 3 << 40])
def test_size_round_trip(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_clocks() -> None:
    clock = ManualClock(wall=100.0, monotonic=5.0)
    clock.advance(2.5)
    assert (clock.wall(), clock.monotonic()) == (102.5, 7.5)
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
    assert abs(now_us() / 1e6 - SYSTEM_CLOCK.wall()) < 60
    assert format_time(1_700_000_000_000_042) == "2023-11-14T22:13:20.000042Z"


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("self_text", "files", "cpus"),
    [
        pytest.param("0::/\n", {}, 8, id="no-quota-file"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, 8, id="v2-unlimited"),
        pytest.param("0::/\n", {"cpu.max": "350000 100000\n"}, 3, id="v2-rounds-down"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "200000 100000\n"}, 2, id="v2-parent-counts"),
        pytest.param("0::/host/x\n", {"cpu.max": "200000 100000\n"}, 2, id="v2-path-of-the-host"),
        pytest.param("0::/\n", {"cpu.max": "50000 100000\n"}, 1, id="never-zero"),
        pytest.param("0::/\n", {"cpu.max": "nonsense\n"}, 8, id="v2-nonsense"),
        pytest.param("0::/\n", {"cpu.max": "5 0\n"}, 8, id="v2-zero-period"),
        pytest.param(
            "4:cpu,cpuacct:/d\n0::/\n",
            {
                "cpu,cpuacct/d/cpu.cfs_quota_us": "400000\n",
                "cpu,cpuacct/d/cpu.cfs_period_us": "100000\n",
            },
            4,
            id="v1",
        ),
        pytest.param(
            "4:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            8,
            id="v1-unlimited",
        ),
    ],
)
def test_usable_cpus(tmp_path: Path, self_text: str, files: dict[str, str], cpus: int) -> None:
    """Goal: `--workers auto` starts no more workers than a quota lets run."""
    root = _tree(tmp_path / "cgroup", files)
    root.mkdir(exist_ok=True)
    self_file = tmp_path / "self"
    self_file.write_text(self_text)
    assert usable_cpus(root, self_file, affinity=8) == cpus


def test_usable_cpus_here() -> None:
    assert usable_cpus() >= 1
    assert usable_cpus(Path("/none"), Path("/none"), affinity=3) == 3
