"""The evidence pack: numbers that are right, records behind each, and nothing that runs."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from gateway.audit.segments import list_segments
from gateway.audit.writer import AuditWriter
from gateway.cli.audit import command
from tests.support.trail import drain, intent, open_ring, result

T0 = 1_764_000_000_000_000
HOSTILE = "=cmd|'/c calc'!A1 <script>alert(1)</script>"


def record(kind: str, offset_s: float, **fields: object) -> bytes:
    return orjson.dumps({"v": 1, "kind": kind, "time": T0 + int(offset_s * 1e6), **fields})


RECORDS = [
    record("session.opened", 0, session="w0-1", subject="agent-7", groups=["corp:billing"]),
    intent(1), result(1), intent(2), result(2, outcome="error", sqlstate="23505"),
    record("statement.refused", 1, session="w0-1", target="orders", error="PN301", sql=HOSTILE,
           subject="agent-7", message="no"),
    record("approval.requested", 2, approval="a1", rule="bulk", subject="agent-7"),
    record("approval.decided", 14.5, approval="a1", by="corp|anna", state="APPROVED"),
    record("approval.finished", 15, approval="a1", outcome="executed"),
    record("policy.activated", 16, digest="d2", previous="d1", changes=["+ grant x"]),
    record("admin.action", 20, action="revoke", object="subject corp agent-7", subject="anna"),
    record("session.closed", 20.25, session="w0-1", reason="revoked"),
    record("statement.refused", 9_000_000, session="w0-1", error="PN302"),
]  # fmt: skip


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    ring, writer = open_ring(tmp_path), AuditWriter(tmp_path)
    writer.open()
    for payload in RECORDS:
        assert ring.append(payload)
    drain(writer)
    writer.close()
    return tmp_path


class Page(HTMLParser):
    """The tags, the links, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def report(data_dir: Path, *arguments: str) -> tuple[int, Path]:
    out = data_dir / "pack"
    done = CliRunner().invoke(
        command, ["report", "--data-dir", str(data_dir), "-o", str(out), *arguments]
    )
    return done.exit_code, out


def test_every_number_has_its_records(data_dir: Path) -> None:
    status, out = report(data_dir, "--from", "2025-11-01T00:00Z", "--to", "2025-12-31T00:00Z")
    assert status == 0
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    access = {(r[1], r[3]): r[4] for r in rows if r[0] == "Access by group"}
    assert access == {
        ("corp:billing", "ok"): "1", ("corp:billing", "error"): "1", ("corp:billing", "refused"): "1",
    }  # fmt: skip
    assert ["Refusals", "PN301", "1"] in rows
    assert not any("PN302" in cell for row in rows for cell in row)  # outside of the time
    approval = next(r for r in rows if r[0] == "Approvals")
    assert approval[5:7] == ["12.5 s", "executed"]
    assert next(r for r in rows if r[0] == "Revocations")[5:] == ["1", "0.250 s"]
    assert next(r for r in rows if r[0] == "Policy changes")[4:6] == ["d2", "d1"]
    page = Page((out / "index.html").read_text())
    for link in page.links:
        with (out / link).open(newline="") as file:
            assert len(list(csv.reader(file))) >= 2
    assert any("The trail is whole" in text for text in page.texts)


def test_what_an_agent_wrote_runs_nowhere(data_dir: Path) -> None:
    """Goal: neither browser nor spreadsheet runs it. Method: a formula that is also a script."""
    _, out = report(data_dir)
    assert "script" not in Page((out / "index.html").read_text()).tags
    for path in out.glob("*.csv"):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not any(cell.startswith(("=", "+", "@", "-")) and len(cell) > 1 for cell in cells)


def test_a_trail_that_was_changed_is_said(data_dir: Path) -> None:
    path = list_segments(data_dir / "audit" / "segments")[0]
    path.write_bytes(path.read_bytes().replace(b"agent-7", b"agent-8", 1))
    status, out = report(data_dir)
    assert status == 1
    assert "THE TRAIL IS NOT WHOLE" in (out / "index.html").read_text()


def test_an_existing_directory_is_left_alone(data_dir: Path) -> None:
    (data_dir / "pack").mkdir()
    assert report(data_dir)[0] == 2
