"""Any single change to the trail is named, by the product's verifier and by the tiny one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audit.findings import Verification
from gateway.audit.segments import FILE_HEADER_SIZE, list_segments
from gateway.audit.verify import verify
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import encode, entries_of, make_trail

many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("trail")
    make_trail(data_dir)
    assert verify(data_dir).is_clean
    assert tiny_verify(data_dir) == ""
    assert len(list_segments(data_dir / "audit" / "segments")) >= 4
    return data_dir


def tamper(sound: Path, tmp_path: Path, change: Callable[[list[Path]], object]) -> Verification:
    """Verify a copy after `change`; both verifiers must object."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sound, copy)
    change(list_segments(copy / "audit" / "segments"))
    result = verify(copy)
    assert not result.is_clean
    assert tiny_verify(copy) != ""
    return result


@many
@given(data=st.data())
def test_any_flipped_byte_is_named(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Goal: no byte of a segment can change. Method: change one, anywhere."""
    at = touched = 0

    def change(paths: list[Path]) -> None:
        nonlocal at, touched
        path = data.draw(st.sampled_from(paths))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        touched = next((e.sequence for e in entries_of(path) if e.offset <= at < e.end), 0)
        path.write_bytes(content)

    result = tamper(sound, tmp_path, change)
    if at >= FILE_HEADER_SIZE:
        # A length that points behind the end of the file reads as one that was cut.
        words = ("edited", "fork", "gap", "reordered", "truncated")
        assert any(abs(p.sequence - touched) <= 1 and p.what in words for p in result.problems), (
            touched,
            result.problems,
        )


@many
@given(data=st.data())
def test_an_edited_payload_names_exactly_its_entry(
    sound: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Goal: the auditor is told which record. Method: change one payload byte."""
    touched = 0

    def change(paths: list[Path]) -> None:
        nonlocal touched
        path = data.draw(st.sampled_from(paths))
        entry = data.draw(st.sampled_from(entries_of(path)))
        touched = entry.sequence
        content = bytearray(path.read_bytes())
        content[entry.end - 1 - data.draw(st.integers(0, len(entry.payload) - 1))] ^= 1
        path.write_bytes(content)

    result = tamper(sound, tmp_path, change)
    assert {p.sequence for p in result.problems if p.what == "edited"} == {touched}


@many
@given(data=st.data())
def test_a_removed_entry_is_a_gap_or_a_cut(
    sound: Path, tmp_path: Path, data: st.DataObject
) -> None:
    touched = 0

    def change(paths: list[Path]) -> None:
        nonlocal touched
        path = data.draw(st.sampled_from(paths))
        entries = entries_of(path)
        gone = data.draw(st.sampled_from(entries))
        touched = gone.sequence
        kept = b"".join(encode(entry) for entry in entries if entry is not gone)
        path.write_bytes(path.read_bytes()[:FILE_HEADER_SIZE] + kept)

    result = tamper(sound, tmp_path, change)
    assert any(
        p.what in ("gap", "truncated") and abs(p.sequence - touched) <= 1 for p in result.problems
    ), (touched, result.problems)


@many
@given(data=st.data())
def test_swapped_entries_are_reordered(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    swapped: set[int] = set()

    def change(paths: list[Path]) -> None:
        path = data.draw(st.sampled_from([p for p in paths if len(entries_of(p)) > 3]))
        entries = entries_of(path)
        one = data.draw(st.integers(1, len(entries) - 3))
        two = data.draw(st.integers(one + 1, len(entries) - 2))
        swapped.update((entries[one].sequence, entries[two].sequence))
        entries[one], entries[two] = entries[two], entries[one]
        path.write_bytes(path.read_bytes()[:FILE_HEADER_SIZE] + b"".join(map(encode, entries)))

    result = tamper(sound, tmp_path, change)
    assert any(p.what == "reordered" and p.sequence in swapped for p in result.problems), (
        swapped,
        result.problems,
    )


@many
@given(data=st.data())
def test_a_cut_file_is_truncated(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Goal: bytes cannot go missing from any end. Method: cut a file at any length."""

    def change(paths: list[Path]) -> None:
        path = data.draw(st.sampled_from(paths))
        size = data.draw(st.integers(0, path.stat().st_size - 1))
        path.write_bytes(path.read_bytes()[:size])

    result = tamper(sound, tmp_path, change)
    assert any(p.what in ("truncated", "gap", "edited") for p in result.problems)


@many
@given(data=st.data())
def test_a_removed_or_doubled_segment_is_named(
    sound: Path, tmp_path: Path, data: st.DataObject
) -> None:
    def change(paths: list[Path]) -> None:
        path = data.draw(st.sampled_from(paths))
        if data.draw(st.booleans()):
            path.unlink()
        else:
            shutil.copy(path, path.with_name(f"{int(path.stem) + 1:020d}.seg"))

    tamper(sound, tmp_path, change)


@many
@given(data=st.data())
def test_checkpoints_cannot_be_changed(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Goal: no byte, order or count of checkpoints can change but the very last line's."""

    def change(paths: list[Path]) -> None:
        path = paths[0].parent.parent / "checkpoints.log"
        lines = path.read_bytes().splitlines(keepends=True)
        kind = data.draw(st.sampled_from(["flip", "drop", "swap"]))
        at = data.draw(st.integers(0, len(lines) - 2))
        if kind == "flip":
            line = bytearray(lines[at])
            place = data.draw(st.integers(0, len(line) - 2))
            # Upper-case hex digits of a signature say the same.
            line[place] = data.draw(st.sampled_from([c for c in b"x0{" if c != line[place]]))
            lines[at] = bytes(line)
        elif kind == "drop":
            del lines[at]
        else:
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
        path.write_bytes(b"".join(lines))

    tamper(sound, tmp_path, change)


def test_a_history_forged_with_right_hashes_differs_from_its_checkpoint(
    sound: Path, tmp_path: Path
) -> None:
    """Goal: recomputing the chain does not help without the key."""
    from gateway.audit.chain import ZERO_HASH, EntryKind, MerkleTree, leaf_hash

    def change(paths: list[Path]) -> None:
        leaf = ZERO_HASH
        for path in paths[:1]:
            header, tree, out = path.read_bytes()[:FILE_HEADER_SIZE], MerkleTree(), []
            for entry in entries_of(path):
                payload = entry.payload.replace(b"agent-7", b"agent-8")
                if entry.kind == EntryKind.CLOSE:
                    root = tree.root().hex().encode()
                    payload = payload[: payload.index(b'"root":"') + 8] + root + b'"}'
                leaf = leaf_hash(header[8:24], entry.sequence, leaf, entry.head, payload)
                tree.add_all([leaf])
                out.append(entry.head + leaf + payload)
            path.write_bytes(header + b"".join(out))

    result = tamper(sound, tmp_path, change)
    assert any(p.what == "fork" for p in result.problems)


def test_a_key_that_is_not_trusted_is_named(sound: Path, tmp_path: Path) -> None:
    from gateway.audit.signing import load_or_make_key

    load_or_make_key(tmp_path)
    result = verify(sound, keys=[tmp_path / "signing.pub"])
    assert {p.what for p in result.problems} == {"key"}
    assert result.signed_to == 0
