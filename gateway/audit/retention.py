"""Delete old segments and leave a proof of what they were, so that the rest still verifies.

Whole closed segments only, never the newest. Before a file goes, a record says so and a signed
line in `purged.log` keeps its range, last leaf and Merkle root: without that line a missing
segment is a gap. What a hold covers stays.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from _fastpath.journal import Journal
from gateway.audit.chain import EntryKind
from gateway.audit.journal import Recorder
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    Entry,
    list_segments,
    read_entries,
    read_opening,
    read_segment,
)
from gateway.audit.signing import (
    append_line,
    key_id,
    load_or_make_key,
    read_lines,
    sync_directory,
    write_file,
)

PURGE_TAG: Final = b"postern-audit-purge-v1\n"
_RING_BYTES: Final = 1 << 20
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A stretch of time whose segments must stay, and why."""

    name: str
    since_us: int
    until_us: int
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSegment:
    """A closed segment and what is left of it once it is gone."""

    file: str
    first_sequence: int
    last_sequence: int
    leaf: str
    root: str
    since_us: int
    until_us: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a purge deletes, and which old segments holds keep."""

    delete: tuple[OldSegment, ...]
    held: tuple[tuple[OldSegment, str], ...]


def read_holds(directory: Path) -> list[Hold]:
    """The holds of a trail (`.../audit`). Raises ValueError: unreadable holds hold everything."""
    path = directory / "holds.json"
    if not path.exists():
        return []
    try:
        return [Hold(**fields) for fields in orjson.loads(path.read_bytes())]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read, so nothing is purged: {error}") from error


def change_holds(data_dir: Path, *, add: Hold | None = None, remove: str = "", by: str) -> None:
    """Set or lift a hold, recorded first. Raises ValueError for a name taken or unknown."""
    directory = data_dir / "audit"
    holds = read_holds(directory)
    names = {hold.name for hold in holds}
    if add is not None and add.name in names:
        raise ValueError(f"there is a hold {add.name!r} already")
    if remove and remove not in names:
        raise ValueError(
            f"there is no hold {remove!r}; holds: {', '.join(sorted(names)) or 'none'}"
        )
    kept = [hold for hold in holds if hold.name != remove] + ([add] if add else [])
    if add is not None:
        _recorder(data_dir).record("audit.hold_set", **asdict(add))
    else:
        _recorder(data_dir).record("audit.hold_lifted", name=remove, by=by)
    content = orjson.dumps([asdict(hold) for hold in kept], option=orjson.OPT_INDENT_2)
    write_file(directory / "holds.json", content, mode=0o600)


def plan_purge(data_dir: Path, *, before_us: int) -> Plan:
    """Which segments ended before `before_us` and are not held. Raises OSError, ValueError."""
    directory = data_dir / "audit"
    holds = read_holds(directory)
    delete: list[OldSegment] = []
    held: list[tuple[OldSegment, str]] = []
    for path, following in pairwise(list_segments(directory / "segments")):
        # The next one's beginning is this one's end: most need not be read.
        if read_opening(following).get("time", 0) >= before_us:
            break
        segment = _look(path)
        if segment is None or segment.until_us >= before_us:
            continue
        over = [
            h for h in holds if h.since_us <= segment.until_us and segment.since_us <= h.until_us
        ]
        if over:
            held.append((segment, ", ".join(hold.name for hold in over)))
        else:
            delete.append(segment)
    return Plan(delete=tuple(delete), held=tuple(held))


def _look(path: Path) -> OldSegment | None:
    """What a closed segment is; None for one that is not closed well: it is evidence."""
    first: Entry | None = None
    last: Entry | None = None
    try:
        data = read_segment(path)
    except ValueError:
        return None
    for entry in read_entries(data, start=FILE_HEADER_SIZE):
        first, last = first or entry, entry
    if first is None or last is None or last.kind != EntryKind.CLOSE:
        return None
    try:
        opening, closing = orjson.loads(first.payload), orjson.loads(last.payload)
        return OldSegment(
            file=path.name,
            first_sequence=first.sequence,
            last_sequence=last.sequence,
            leaf=last.leaf.hex(),
            root=closing["root"],
            since_us=opening["time"],
            until_us=closing["time"],
            bytes=path.stat().st_size,
        )
    except (ValueError, KeyError, TypeError):
        return None


def purge(data_dir: Path, plan: Plan, *, rule: str, by: str, now_us: int) -> None:
    """Record, sign, then delete. Raises OSError, BlockingIOError while another purge runs."""
    directory = data_dir / "audit"
    recorder = _recorder(data_dir)
    key = load_or_make_key(directory)
    for segment in plan.delete:
        proof = {key: value for key, value in asdict(segment).items() if key != "bytes"}
        recorder.record("audit.purged", rule=rule, by=by, bytes=segment.bytes, **proof)
        fields = {"v": 1, **proof, "rule": rule, "by": by, "time": now_us}
        body = orjson.dumps(fields | {"key": key_id(key.public_key())})
        line = body + b" " + key.sign(PURGE_TAG + body).hex().encode() + b"\n"
        append_line(directory / "purged.log", line)
        for path in directory.joinpath("segments").glob(f"{segment.first_sequence:020d}.seg*"):
            path.unlink()
    sync_directory(directory / "segments")


def _recorder(data_dir: Path) -> Recorder:
    """Into a ring of its own, which the writer drains now or at its next start."""
    path = data_dir / "journal" / "retention.ring"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return Recorder(Journal(str(path), _RING_BYTES))


def read_purged(
    directory: Path, trusted: dict[str, Ed25519PublicKey]
) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """(proofs by first sequence, what is wrong with other lines) of `purged.log`."""
    proofs: dict[int, dict[str, Any]] = {}
    problems: list[str] = []
    for number, line in enumerate(read_lines(directory / "purged.log"), 1):
        body, _, signature = line.rstrip(b"\n").rpartition(b" ")
        try:
            fields = orjson.loads(body)
            trusted[fields["key"]].verify(
                bytes.fromhex(signature.decode("ascii")), PURGE_TAG + body
            )
            bytes.fromhex(fields["leaf"])
            if type(fields["last_sequence"]) is not int:
                raise ValueError("last_sequence")
            proofs[int(fields["first_sequence"])] = fields
        except (ValueError, KeyError, TypeError, InvalidSignature) as error:
            problems.append(f"line {number} does not hold: {str(error) or type(error).__name__}")
    return proofs, problems


def who_runs() -> str:
    """The operator as the operating system knows it."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
