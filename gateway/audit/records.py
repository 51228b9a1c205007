"""Audit records: every kind, its fields, and how one is built. `docs/audit.md` lists the same.

A record is one JSON object. `v`, `kind` and `time` come first in each; the rest is the kind's.
Compiled code writes the statement kinds itself; tests hold all writers to this table.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.clock import now_us

RECORD_VERSION: Final = 1
COMMON: Final = frozenset({"v", "kind", "time"})


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What says who: in every record that has a principal.
WHO: Final = _names(
    "principal issuer subject groups token_id token_expires gateway_token agent run_id actor"
)
# Where it happened.
WHERE: Final = _names("gateway worker generation session trace client tls target role")
ERROR: Final = _names("error sqlstate message reason")
_STATEMENT: Final = (
    WHO
    | WHERE
    | _names(
        "stmt path sql sql_sha256 params decision rules effects objects masks policy_digest "
        "catalog_version approval ticket stated_reason search_path transaction shadow"
    )
)
_APPROVAL: Final = (
    WHO
    | WHERE
    | _names(
        "approval state rule sql params objects effects policy_digest by comment quorum "
        "stated_reason expires comment hold_s"
    )
)
_AUDIT_EVENT: Final = _names(
    "file offset bytes sequence first_sequence last_sequence sha256 copy ring ring_id ring_first "
    "ring_last share free_bytes"
)
_PROCESS: Final = _names(
    "process pid generation life how status drain reason version config_digest text"
)
_CONNECTOR: Final = _names("connector member client version targets reason by text")
_POLICY: Final = _names("digest previous generation active files changes problems by")

# kind -> (fields, what it says)
KINDS: Final[dict[str, tuple[frozenset[str], str]]] = {
    "session.opened": (WHO | WHERE | {"level"}, "A client authenticated."),
    "session.refused": (WHO | WHERE | ERROR, "A client was not let in; `reason` is precise."),
    "session.closed": (
        WHO | WHERE | ERROR | {"reason", "statements", "rows", "bytes", "duration_us", "text"},
        "A session ended; an error id says why when the gateway ended it.",
    ),
    "statement.intent": (_STATEMENT, "A statement is about to be forwarded."),
    "statement.result": (
        WHERE
        | ERROR
        | _names("stmt outcome tag rows bytes duration_us wait_us result_sha256 limit rule shadow"),
        "How an intent ended: ok, error, skipped, cancelled, lost or unknown.",
    ),
    "statement.refused": (_STATEMENT | ERROR, "A statement was not forwarded."),
    "statement.local": (_STATEMENT, "A statement the gateway answered itself."),
    "approval.requested": (_APPROVAL, "A statement waits for people."),
    "approval.decided": (_APPROVAL, "A person approved or denied."),
    "approval.consumed": (_APPROVAL, "An approval was used, once, before forwarding."),
    "approval.finished": (_APPROVAL | {"outcome"}, "What came of an approved statement."),
    "approval.expired": (_APPROVAL, "Nobody decided in time, or the grant was not used."),
    "approval.cancelled": (_APPROVAL, "The client went away or cancelled."),
    "policy.activated": (
        _POLICY,
        "A policy bundle came into force.",
    ),
    "policy.unchanged": (_POLICY, "A reload found the active bundle."),
    "policy.rejected": (
        _POLICY,
        "A policy bundle was not accepted; the old one stays.",
    ),
    "mask.changed": (WHO | WHERE | {"masks", "text"}, "What is masked changed under a session."),
    "limit.reached": (WHO | WHERE | ERROR | {"stmt", "limit", "value"}, "A limit stopped it."),
    "limit.disk_warned": (_AUDIT_EVENT, "The audit disk is fuller than the warning mark."),
    "limit.disk_resumed": (_AUDIT_EVENT, "The writer drains again after the disk was full."),
    "admin.action": (
        WHO | WHERE | ERROR | {"action", "object", "changes", "text", "status"},
        "Somebody used the control plane.",
    ),
    "process.started": (_PROCESS, "A process began."),
    "process.ready": (_PROCESS, "The gateway takes clients."),
    "process.stalled": (_PROCESS, "A process's loop stood still; it is killed."),
    "process.stopping": (_PROCESS, "The gateway was told to stop."),
    "process.gave_up": (_PROCESS, "A process dies too often; the gateway stops."),
    "process.stopped": (_PROCESS, "A process ended as asked."),
    "process.died": (_PROCESS, "A process ended otherwise and is started again."),
    "process.audit_recovered": (_AUDIT_EVENT, "The writer cut a half-written entry at start."),
    "security.event": (
        WHO | WHERE | ERROR | {"stmt", "event", "text", "objects"},
        "Something that must not happen; `event` names it.",
    ),
    "security.mask_mismatch": (
        WHO | WHERE | ERROR | {"stmt", "text", "objects"},
        "The server's row description contradicts the decision; nothing was sent.",
    ),
    "security.superuser_allowed": (
        frozenset({"target"}),
        "A target's login role may be a superuser because the operator said so.",
    ),
    "connector.invited": (_CONNECTOR, "A one-time join token was made for a connector."),
    "connector.joined": (_CONNECTOR, "A connector used its token and has a key of its own."),
    "connector.connected": (_CONNECTOR, "A connector is there and serves its targets."),
    "connector.lost": (_CONNECTOR, "A connector's control connection ended."),
    "connector.renewed": (_CONNECTOR, "A connector took a new key; the old one goes."),
    "connector.revoked": (_CONNECTOR, "A connector was put out, its connections ended."),
    "security.connector": (_CONNECTOR, "Somebody was not let in as a connector; see `reason`."),
    "target.unusable": (frozenset({"target", "reason"}), "A target did not pass its checks."),
    "security.audit_torn": (_AUDIT_EVENT, "Unsigned entries at the end did not verify; kept."),
    "security.audit_damaged": (_AUDIT_EVENT, "Signed entries or checkpoints were changed."),
    "security.audit_truncated": (_AUDIT_EVENT, "Signed entries are missing."),
    "security.journal_damaged": (_AUDIT_EVENT, "Ring records failed their CRC and are lost."),
    "security.journal_missing": (_AUDIT_EVENT, "Ring sequence numbers were skipped."),
    "security.journal_cut": (_AUDIT_EVENT, "A record overran its reservation and was cut."),
    "security.journal_unreadable": (_AUDIT_EVENT, "A ring's header is not sound; set aside."),
    "security.record_malformed": (_AUDIT_EVENT, "A ring record is not one JSON object."),
    "audit.segment_open": (
        _names("stream first_sequence previous_leaf previous_root checkpoint rings open"),
        "First entry of a segment.",
    ),
    "audit.purged": (
        _names("file first_sequence last_sequence leaf root since_us until_us bytes rule by"),
        "A segment was deleted because of its age.",
    ),
    "audit.hold_set": (
        _names("name since_us until_us reason by"),
        "A stretch of time is kept from purges.",
    ),
    "audit.hold_lifted": (_names("name by"), "A hold ended."),
    "audit.segment_close": (frozenset({"entries", "root"}), "Last entry: the Merkle root."),
}


def build_record(kind: str, fields: dict[str, Any]) -> bytes:
    """One record of `kind`, stamped with the time of now.

    Kinds and fields outside `KINDS` are written all the same: a mistake of ours must not leave
    an event unrecorded. `find_unknown` finds them in tests.
    """
    record = {"v": RECORD_VERSION, "kind": kind, "time": now_us(), **fields}
    return orjson.dumps(record, default=str)


def find_unknown(record: dict[str, Any]) -> list[str]:
    """What of `record` is not documented: its kind, or names of fields."""
    kind = record.get("kind", "")
    if kind not in KINDS:
        return [f"kind {kind}"]
    return sorted(record.keys() - KINDS[kind][0] - COMMON)


def describe_kinds() -> str:
    """The table of record kinds in `docs/audit.md`."""
    lines = ["| kind | says | fields besides `v`, `kind`, `time` |", "|---|---|---|"]
    for kind, (fields, text) in KINDS.items():
        lines.append(f"| `{kind}` | {text} | {' '.join(sorted(fields))} |")
    return "\n".join(lines) + "\n"
