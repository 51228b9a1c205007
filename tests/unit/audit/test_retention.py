"""Old segments go with a proof; what is held stays; what goes without proof is a gap."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from gateway.audit.retention import Hold, change_holds, plan_purge, purge
from gateway.audit.search import AuditSearch, Query
from gateway.audit.segments import list_segments
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter
from gateway.cli.audit import command
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import all_records, drain, entries_of, intent, make_trail, open_ring

LATER = 1 << 62
NOW = 1_900_000_000_000_000


def purge_all(data_dir: Path) -> int:
    plan = plan_purge(data_dir, before_us=LATER)
    purge(data_dir, plan, rule="older than 1d", by="test", now_us=NOW)
    return len(plan.delete)


def test_what_is_left_verifies_and_says_what_went(tmp_path: Path) -> None:
    make_trail(tmp_path, records=60, segment_bytes=2_000)
    before = list_segments(tmp_path / "audit" / "segments")
    assert purge_all(tmp_path) == len(before) - 1
    found = verify(tmp_path)
    assert (found.problems, found.purged, found.segments) == ([], len(before) - 1, 1)
    assert tiny_verify(tmp_path) == ""
    writer = AuditWriter(tmp_path)
    writer.open()
    ring = open_ring(tmp_path)
    ring.append(intent(7_777))
    drain(writer)
    writer.close()
    files = [r["file"] for r in all_records(tmp_path) if r["kind"] == "audit.purged"]
    assert files == [path.name for path in before[:-1]]
    assert verify(tmp_path).is_clean
    assert tiny_verify(tmp_path) == ""
    assert next(iter(AuditSearch(tmp_path).find(Query(text="7777")))).record["stmt"] == 7_777
    assert list(AuditSearch(tmp_path).find(Query(text="SELECT 1 "))) == []


@pytest.mark.parametrize("how", ["removed", "edited", "another", "hidden"])
def test_a_deletion_without_its_proof_is_named(tmp_path: Path, how: str) -> None:
    """Goal: purging opens no door. Method: delete more, or change the proofs."""
    make_trail(tmp_path, records=60, segment_bytes=2_000)
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "audit" / "segments", kept)
    purge_all(tmp_path)
    log = tmp_path / "audit" / "purged.log"
    lines = log.read_bytes().splitlines(keepends=True)
    if how == "removed":
        log.unlink()
    elif how == "edited":
        log.write_bytes(log.read_bytes().replace(b'"by":"test"', b'"by":"tset"', 1))
    elif how == "another":
        newest = list_segments(tmp_path / "audit" / "segments")[-1]
        newest.unlink()
    else:
        log.write_bytes(b"".join(lines[1:]))
    found = verify(tmp_path)
    assert {p.what for p in found.problems} & {"gap", "signature", "truncated"}
    assert tiny_verify(tmp_path) != ""


def test_a_hold_keeps_its_time_and_a_gap_in_the_middle_verifies(tmp_path: Path) -> None:
    make_trail(tmp_path, records=60, segment_bytes=2_000)
    paths = list_segments(tmp_path / "audit" / "segments")
    middle = orjson.loads(entries_of(paths[2])[0].payload)["time"]
    hold = Hold(name="case-12", since_us=middle, until_us=middle, reason="court", by="test")
    change_holds(tmp_path, add=hold, by="test")
    with pytest.raises(ValueError, match="already"):
        change_holds(tmp_path, add=hold, by="test")
    plan = plan_purge(tmp_path, before_us=LATER)
    assert paths[2].name in {segment.file for segment, name in plan.held if name == "case-12"}
    purge_all(tmp_path)
    assert paths[2].exists()
    assert verify(tmp_path).is_clean
    assert tiny_verify(tmp_path) == ""
    change_holds(tmp_path, remove="case-12", by="test")
    purge_all(tmp_path)
    assert not paths[2].exists()
    assert verify(tmp_path).is_clean


def test_holds_that_cannot_be_read_hold_everything(tmp_path: Path) -> None:
    make_trail(tmp_path, records=40, segment_bytes=2_000)
    (tmp_path / "audit" / "holds.json").write_text("[{}]")
    with pytest.raises(ValueError, match="nothing is purged"):
        plan_purge(tmp_path, before_us=LATER)


def test_the_command_says_what_would_go_before_it_goes(tmp_path: Path) -> None:
    make_trail(tmp_path, records=60, segment_bytes=2_000)
    place = ["--data-dir", str(tmp_path)]

    def run(*arguments: str) -> tuple[int, str]:
        outcome = CliRunner().invoke(command, [*arguments, *place])
        return outcome.exit_code, outcome.output

    count = len(list_segments(tmp_path / "audit" / "segments"))
    assert run("purge", "--older-than", "400d")[0] == 1
    code, text = run("purge", "--older-than", "0h", "--dry-run")
    assert (code, f"{count - 1} segments would be deleted" in text) == (0, True)
    assert len(list_segments(tmp_path / "audit" / "segments")) == count
    assert run("purge", "--older-than", "soon")[0] == 2
    assert run("hold", "all", "--reason", "court")[0] == 0
    assert "court" in run("hold")[1]
    assert run("purge", "--older-than", "0h")[0] == 1
    assert run("release", "none")[0] == 2
    assert run("release", "all")[0] == 0
    assert run("purge", "--older-than", "0h")[0] == 0
    assert run("verify")[0] == 0
    assert len(list_segments(tmp_path / "audit" / "segments")) == 1
