from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import metrics


@pytest.fixture(autouse=True)
def _own_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_slots", memoryview(bytearray(metrics.SLOTS * 8)).cast("q"))


def value(text: str, series: str) -> float:
    for line in text.splitlines():
        name, _, number = line.rpartition(" ")
        if name == series:
            return float(number)
    raise AssertionError(f"{series} is not rendered")


def test_processes_are_summed(tmp_path: Path) -> None:
    allowed = metrics.STATEMENTS.slot("allow")
    for process, count in (("worker-0", 3), ("worker-1", 4)):
        metrics.open_process(tmp_path, process)
        metrics.inc(allowed, count)
    text = metrics.render(tmp_path)
    assert value(text, 'postern_statements_total{action="allow"}') == 7
    assert value(text, 'postern_statements_total{action="deny"}') == 0


def test_counters_survive_a_restart_and_gauges_do_not(tmp_path: Path) -> None:
    metrics.open_process(tmp_path, "worker-0")
    metrics.inc(metrics.AUDIT_RECORDS.first, 5)
    metrics.inc(metrics.SESSIONS_OPEN.first, 9)
    metrics.open_process(tmp_path, "worker-0")
    metrics.inc(metrics.AUDIT_RECORDS.first)
    text = metrics.render(tmp_path)
    assert value(text, "postern_audit_records_total") == 6
    assert value(text, "postern_sessions_open") == 0


def test_histogram_buckets_are_cumulative(tmp_path: Path) -> None:
    metrics.open_process(tmp_path, "worker-0")
    for seconds in (0.0001, 0.003, 0.003, 99.0):
        metrics.observe(metrics.ANALYSIS, seconds)
    text = metrics.render(tmp_path)
    assert value(text, 'postern_analysis_seconds_bucket{le="0.0001"}') == 1
    assert value(text, 'postern_analysis_seconds_bucket{le="0.005"}') == 3
    assert value(text, 'postern_analysis_seconds_bucket{le="5"}') == 3
    assert value(text, 'postern_analysis_seconds_bucket{le="+Inf"}') == 4
    assert value(text, "postern_analysis_seconds_count") == 4
    assert value(text, "postern_analysis_seconds_sum") == pytest.approx(99.0061)


def test_a_file_of_another_version_is_neither_read_nor_kept(tmp_path: Path) -> None:
    path = metrics.path_of(tmp_path, "worker-0")
    path.parent.mkdir()
    for junk in (b"", b"x" * (metrics.SLOTS * 8), b"PNMETRIC" + b"\0" * (metrics.SLOTS * 8 - 8)):
        path.write_bytes(junk)
        assert value(metrics.render(tmp_path), "postern_audit_records_total") == 0
    metrics.open_process(tmp_path, "worker-0")
    metrics.inc(metrics.AUDIT_RECORDS.first)
    assert value(metrics.render(tmp_path), "postern_audit_records_total") == 1


def test_slots_do_not_overlap() -> None:
    taken: set[int] = set()
    for metric in metrics.METRICS:
        for values in metric.series:
            slots = set(range(metric.slot(*values), metric.slot(*values) + metric.width))
            assert not slots & taken, metric.name
            taken |= slots
    assert max(taken) == metrics.SLOTS - 1


def test_an_undeclared_label_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="not in list"):
        metrics.STATEMENTS.slot("sales.customers")


def test_names_follow_the_conventions_of_prometheus() -> None:
    names = [metric.name for metric in metrics.METRICS]
    assert len(set(names)) == len(names)
    for metric in metrics.METRICS:
        assert re.fullmatch(r"postern_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")


def test_the_text_format_parses(tmp_path: Path) -> None:
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.]+')
    for line in metrics.render(tmp_path).splitlines():
        assert line.startswith("# ") or sample.fullmatch(line), line
