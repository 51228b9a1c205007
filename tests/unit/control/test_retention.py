"""Retention by policy: old segments go by themselves, held ones and those without a rule stay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from gateway.audit.retention import Hold, change_holds
from gateway.audit.segments import list_segments
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter
from gateway.control.retention import RetentionKeeper
from gateway.policy.load import load_bundle
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import all_records, drain, make_trail

YEAR_S = 365 * 86_400.0


@dataclass
class At:
    """A clock that stands."""

    wall_s: float

    def wall(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return 0.0


def keeper(data_dir: Path, policy: str, wall_s: float = 4e9) -> RetentionKeeper:
    rules = data_dir / "policies"
    rules.mkdir(exist_ok=True)
    (rules / "policy.yaml").write_text(policy)
    path = data_dir / "policy.json"
    path.write_bytes(load_bundle(rules, targets=None, issuers=None).to_json())
    return RetentionKeeper(data_dir, path, At(wall_s), look_s=0.01)


def count(data_dir: Path) -> int:
    return len(list_segments(data_dir / "audit" / "segments"))


def test_what_is_older_than_the_policy_says_goes_with_its_rule(tmp_path: Path) -> None:
    make_trail(tmp_path)
    before = count(tmp_path)
    keep = keeper(tmp_path, "version: 1\nretention: {audit: 400d}\n")
    assert keep.apply() == before - 1
    assert keep.apply() == 0
    writer = AuditWriter(tmp_path)
    writer.open()
    drain(writer)
    writer.close()
    purged = [r for r in all_records(tmp_path) if r["kind"] == "audit.purged"]
    assert len(purged) == before - 1
    assert all(r["rule"].endswith("retention.audit 400d") for r in purged)
    assert verify(tmp_path).is_clean
    assert tiny_verify(tmp_path) == ""


@pytest.mark.parametrize("policy", ["version: 1\n", "version: 1\nretention: {recordings: 1d}\n"])
def test_without_a_rule_nothing_goes(tmp_path: Path, policy: str) -> None:
    make_trail(tmp_path)
    assert keeper(tmp_path, policy).apply() == 0


def test_what_is_young_or_held_stays(tmp_path: Path) -> None:
    make_trail(tmp_path)
    opened_s = all_records(tmp_path)[0]["time"] / 1e6
    policy = "version: 1\nretention: {audit: 400d}\n"
    assert keeper(tmp_path, policy, opened_s + 399 * 86_400).apply() == 0
    hold = Hold(name="case", since_us=0, until_us=1 << 62, reason="case 12", by="counsel")
    change_holds(tmp_path, add=hold, by="counsel")
    before = count(tmp_path)
    assert keeper(tmp_path, policy).apply() == 0
    assert count(tmp_path) == before


def test_unreadable_holds_or_policy_delete_nothing_and_it_goes_on(tmp_path: Path) -> None:
    """Goal: fail closed, and not for ever. Method: garbage, then a repair, in a running keeper."""
    make_trail(tmp_path)
    before = count(tmp_path)
    keep = keeper(tmp_path, "version: 1\nretention: {audit: 400d}\n")
    (tmp_path / "audit" / "holds.json").write_text("garbage")

    async def live() -> None:
        task = asyncio.create_task(keep.run(), name="retention")
        await asyncio.sleep(0.1)
        assert count(tmp_path) == before
        (tmp_path / "audit" / "holds.json").write_bytes(orjson.dumps([]))
        while count(tmp_path) > 1:  # noqa: ASYNC110  it is files that change
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(live(), 20))
