"""The evidence pack: one page to read, the records of each number beside it, no script anywhere."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, select_autoescape

from gateway.audit.evidence import Evidence, safe_cell
from gateway.audit.findings import Verification
from gateway.audit.view import show_time

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Postern: evidence</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #999;padding:.2em .6em;
text-align:left}.n{text-align:right}.bad{color:#a00;font-weight:bold}</style></head><body>
<h1>Evidence from the audit trail</h1>
<p>From {{ since }} to {{ until }}. Every number leads to its records; every record has its sequence
in the trail.</p>
{% for table in tables %}<h2>{{ table.title }}</h2>{% if table.note %}
<p{% if table.bad %} class="bad"{% endif %}>{{ table.note }}</p>{% endif %}
{% if table.rows %}<table><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>
{%- if cell is mapping %}<a href="{{ cell.file }}">{{ cell.text }}</a>{% else %}{{ cell }}
{%- endif %}</td>{% endfor %}</tr>
{% endfor %}</table>{% else %}<p>None.</p>{% endif %}
{% endfor %}</body></html>
"""
Table = dict[str, Any]


def write_pack(
    pack: Path, found: Evidence, verified: Verification, since_us: int, until_us: int
) -> None:
    """Write `index.html` and `summary.csv` into `pack`. Raises OSError."""
    tables = [
        _access(found), _refusals(found), _approvals(found), _policies(found),
        _revocations(found), _retention(found), _verification(verified),
    ]  # fmt: skip
    page = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    text = page.from_string(_PAGE).render(
        since=_time(since_us), until=_time(until_us), tables=tables
    )
    (pack / "index.html").write_text(text, encoding="utf-8")
    with (pack / "summary.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        for table in tables:
            out.writerow(["section", *table["columns"]])
            for row in table["rows"]:
                cells = [cell["text"] if isinstance(cell, dict) else cell for cell in row]
                out.writerow([table["title"], *map(safe_cell, cells)])


def _time(time_us: int) -> str:
    return show_time(time_us, is_local=False) if 0 < time_us < 1 << 60 else "the other end"


def _link(text: object, file: str) -> dict[str, str]:
    return {"text": str(text), "file": file}


def _table(title: str, columns: tuple[str, ...], rows: list[list[object]], note: str = "") -> Table:
    return {"title": title, "columns": columns, "rows": rows, "note": note, "bad": False}


def _access(found: Evidence) -> Table:
    rows: list[list[object]] = [
        [group, target, outcome, _link(count, found.files[group, target, outcome])]
        for (group, target, outcome), count in sorted(found.access.items())
    ]
    note = "A statement of somebody in several groups counts for each."
    return _table("Access by group", ("group", "target", "outcome", "statements"), rows, note)


def _refusals(found: Evidence) -> Table:
    rows: list[list[object]] = [
        [error, _link(count, "refusals.csv")] for error, count in found.reasons.most_common()
    ]
    return _table("Refusals", ("error", "count"), rows)


def _approvals(found: Evidence) -> Table:
    rows: list[list[object]] = [
        [
            _link(entry.id, "approvals.csv"),
            entry.who,
            entry.rule,
            "; ".join(entry.decided),
            "" if entry.waited_s is None else f"{entry.waited_s:.1f} s",
            entry.outcome,
            " ".join(map(str, entry.sequences)),
        ]
        for entry in found.approvals.values()
    ]
    columns = ("approval", "asked by", "rule", "decided by", "waited", "outcome", "sequences")
    return _table("Approvals", columns, rows)


def _policies(found: Evidence) -> Table:
    rows: list[list[object]] = [
        [
            _link(policy["sequence"], "policy.csv"),
            _time(int(policy.get("time", 0))),
            policy["kind"],
            policy.get("digest", ""),
            policy.get("previous", ""),
            str(policy.get("changes", "")),
        ]
        for policy in found.policies
    ]
    columns = ("record", "time", "what", "digest", "digest before", "changes")
    note = "`postern policy diff` shows two bundles' difference rule by rule."
    return _table("Policy changes", columns, rows, note)


def _revocations(found: Evidence) -> Table:
    rows: list[list[object]] = [
        [
            _link(entry.sequence, "revocations.csv"),
            _time(entry.time_us),
            entry.object,
            entry.by,
            entry.closed,
            "" if entry.effect_s is None else f"{entry.effect_s:.3f} s",
        ]
        for entry in found.revocations
    ]
    columns = ("record", "time", "what", "by", "sessions ended", "time to effect")
    return _table("Revocations", columns, rows)


def _retention(found: Evidence) -> Table:
    rows: list[list[object]] = [
        [
            _link(entry["sequence"], "retention.csv"),
            entry.get("file", ""),
            f"{entry.get('first_sequence')} to {entry.get('last_sequence')}",
            entry.get("root", ""),
            entry.get("rule", ""),
            entry.get("by", ""),
        ]
        for entry in found.purged
    ]
    columns = ("record", "segment", "sequences", "Merkle root", "rule", "by")
    return _table("Retention", columns, rows, "Signed proofs of the same are in purged.log.")


def _verification(verified: Verification) -> Table:
    rows: list[list[object]] = [[p.what, p.file, p.sequence, p.text] for p in verified.problems]
    table = _table("Verification", ("problem", "file", "sequence", "found"), rows)
    word = "The trail is whole" if verified.is_clean else "THE TRAIL IS NOT WHOLE"
    table["note"] = (
        f"{word}: {verified.entries} entries to sequence {verified.last_sequence}, signed to"
        f" {verified.signed_to} by {verified.checkpoints} checkpoints, {verified.purged} segments"
        f" deleted with proof, {len(verified.open)} statements without a result."
    )
    table["bad"] = not verified.is_clean
    return table
