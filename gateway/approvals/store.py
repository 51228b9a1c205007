"""Approval requests in SQLite: one writer, compare and swap, nothing forgotten.

Invariants: a state changes only along `states.MOVES`, only from the state that was read inside the
same transaction, and only together with its audit record: `on_move` runs before COMMIT, and when
it raises nothing has happened. A crash between the two leaves a record of a step that did not take
place, never a step without a record.

Synchronous on purpose: `desk.py` runs it in a thread of its own.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from gateway.approvals import background, schema
from gateway.approvals.binding import binding_digest
from gateway.approvals.listing import Query, Viewer, find_page
from gateway.approvals.model import Approval, ApprovalRequest, Listed, Step, Vote
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.approvals.states import ApprovalState, may_move
from gateway.errors import InvariantError
from gateway.limits import APPROVALS_PENDING_MAX, APPROVALS_PENDING_PER_PRINCIPAL_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


# Crockford's alphabet: ids are read out and typed by people.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_CHARS = 16  # 80 bits
_BUSY_MS = 5_000
_BATCH = 500

_OUTCOMES = {
    "executed": ApprovalState.EXECUTED,
    "failed": ApprovalState.FAILED,
    "unknown": ApprovalState.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One thing that happened to a request, as `on_move` gets it."""

    event: str  # "requested", "voted" or the new state in lower case
    approval: Approval
    actor: str
    note: str


class ApprovalStore:
    """All access to the approval tables. Use from one thread."""

    def __init__(self, connection: apsw.Connection, on_move: Callable[[Move], None]) -> None:
        self._db = connection
        self._on_move = on_move

    @classmethod
    def open(cls, path: Path, on_move: Callable[[Move], None]) -> ApprovalStore:
        """Open or create the database at `path`."""
        connection = apsw.Connection(str(path))
        path.chmod(0o600)  # statements and parameters are in it
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: an approval that a reviewer saw accepted must survive the host, and so must the
        # fact that it was used up. A few of these per second are written, not thousands.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(schema.SCHEMA + background.SCHEMA)
        return cls(connection, on_move)

    def close(self) -> None:
        """Close the database. The store must not be used afterwards."""
        self._db.close()

    def submit(self, request: ApprovalRequest, now_us: int) -> tuple[Approval, bool]:
        """File `request`, or return what already answers it; the flag says which.

        An open request for the same digest answers, and so does a denial for as long as the
        denied request would have lived: asking again in a loop must not wear reviewers down.
        """
        digest = binding_digest(request)
        with self._transaction():
            self._expire_digest(digest, now_us)
            row = self._row(
                "SELECT id FROM approvals WHERE digest = ? AND (state IN ('PENDING', 'APPROVED')"
                " OR (state = 'DENIED' AND expires_us > ?)) ORDER BY created_us DESC LIMIT 1",
                (digest, now_us),
            )
            if row is not None:
                return self._load(row[0]), False
            self._check_room(request.principal.key)
            approval_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS))
            values = {
                "id": approval_id,
                "digest": digest,
                "created_us": now_us,
                "expires_us": now_us + _us(request.terms.request_ttl_s),
                **schema.encode(request),
            }
            self._db.execute(schema.INSERT, values)
            self._add_step(approval_id, 1, ApprovalState.PENDING, now_us, request.principal.key, "")
            approval = self._load(approval_id)
            self._on_move(
                Move(
                    event="requested",
                    approval=approval,
                    actor=request.principal.key,
                    note=request.reason,
                )
            )
            return approval, True

    def get(self, approval_id: str) -> Approval:
        """Return one request with its votes and steps; raises Refusal(NOT_FOUND)."""
        return self._load(approval_id)

    def vote(
        self, approval_id: str, person: str, verdict: str, comment: str, now_us: int
    ) -> Approval:
        """Count one person's word. The caller has checked that the person may speak.

        A deny ends the request; the approve that reaches the quorum approves it. Raises
        Refusal(CONFLICT) when the request is not pending any more or the person already spoke.
        """
        with self._transaction():
            approval = self._load(approval_id)
            self._require_pending(approval, now_us)
            if any(vote.person == person for vote in approval.votes):
                raise Refusal(RefusalCode.CONFLICT, "you have already decided this request")
            self._db.execute(
                "INSERT INTO approval_votes (approval, person, verdict, comment, time_us)"
                " VALUES (?, ?, ?, ?, ?)",
                (approval_id, person, verdict, comment, now_us),
            )
            if verdict == "deny":
                return self._move(approval, ApprovalState.DENIED, now_us, person, comment)
            if verdict != "approve":
                raise InvariantError(f"unknown verdict {verdict!r}")
            if approval.approvals + 1 >= approval.request.terms.quorum:
                expires_us = now_us + _us(approval.request.terms.grant_ttl_s)
                return self._move(
                    approval, ApprovalState.APPROVED, now_us, person, comment, expires_us=expires_us
                )
            # Not a change of state, still a new version: a page rendered before is stale now.
            self._db.execute(
                "UPDATE approvals SET version = version + 1 WHERE id = ?", (approval_id,)
            )
            self._add_step(
                approval_id, approval.version + 1, ApprovalState.PENDING, now_us, person, comment
            )
            approval = self._load(approval_id)
            self._on_move(Move(event="voted", approval=approval, actor=person, note=comment))
            return approval

    def consume(self, approval_id: str, digest: str, holder: str, now_us: int) -> bool:
        """Take an APPROVED request for one execution. Exactly one holder ever gets True."""
        with self._transaction():
            approval = self._load(approval_id)
            if approval.state is ApprovalState.EXECUTING:
                row = self._row("SELECT holder FROM approvals WHERE id = ?", (approval_id,))
                # The same call repeated after a lost answer, not a second use.
                return row is not None and bool(holder) and row[0] == holder
            if approval.state is not ApprovalState.APPROVED or approval.digest != digest:
                return False
            if approval.expires_us <= now_us:
                self._move(approval, ApprovalState.EXPIRED, now_us, "", "not used in time")
                return False
            self._db.execute("UPDATE approvals SET holder = ? WHERE id = ?", (holder, approval_id))
            self._move(approval, ApprovalState.EXECUTING, now_us, holder, "")
            return True

    def finish(self, approval_id: str, outcome: str, now_us: int) -> Approval:
        """Record how the execution ended.

        A report for a request that is UNKNOWN already stays a note beside it: the state was
        given up when nobody could vouch for the execution, and it has no way back.
        """
        state = _OUTCOMES.get(outcome)
        if state is None:
            raise Refusal(RefusalCode.INVALID, f"unknown outcome {outcome!r}")
        with self._transaction():
            approval = self._load(approval_id)
            if approval.state is ApprovalState.UNKNOWN and not approval.outcome:
                self._db.execute(
                    "UPDATE approvals SET outcome = ? WHERE id = ?", (outcome, approval_id)
                )
                approval = self._load(approval_id)
                self._on_move(Move(event="late_report", approval=approval, actor="", note=outcome))
                return approval
            if approval.state is not ApprovalState.EXECUTING:
                raise _conflict(approval)
            if state is not ApprovalState.UNKNOWN:
                self._db.execute(
                    "UPDATE approvals SET outcome = ? WHERE id = ?", (outcome, approval_id)
                )
            return self._move(approval, state, now_us, "", outcome)

    def cancel(self, approval_id: str, actor: str, note: str, now_us: int) -> Approval:
        """Withdraw a PENDING request; raises Refusal(CONFLICT) when it is past that."""
        with self._transaction():
            approval = self._load(approval_id)
            self._require_pending(approval, now_us)
            return self._move(approval, ApprovalState.CANCELLED, now_us, actor, note)

    def revoke(self, approval_id: str, actor: str, note: str, now_us: int) -> Approval:
        """Take back an APPROVED request that was not used yet; raises Refusal(CONFLICT)."""
        with self._transaction():
            approval = self._load(approval_id)
            if approval.state is not ApprovalState.APPROVED:
                raise _conflict(approval)
            return self._move(approval, ApprovalState.REVOKED, now_us, actor, note)

    def expire_due(self, now_us: int) -> list[str]:
        """Expire what is past its time, a batch of it; returns the ids."""
        with self._transaction():
            ids = self._ids(
                "state IN ('PENDING', 'APPROVED') AND expires_us <= ? ORDER BY expires_us",
                (now_us,),
            )
            for approval_id in ids:
                self._expire(self._load(approval_id), now_us)
            return ids

    def give_up(self, holder_prefix: str, note: str, now_us: int) -> list[str]:
        """Mark what `holder_prefix` was executing UNKNOWN: its holder is gone.

        The empty prefix means every holder: after a restart nobody can vouch for any of them.
        """
        with self._transaction():
            ids = self._ids(
                "state = 'EXECUTING' AND substr(holder, 1, length(?1)) = ?1", (holder_prefix,)
            )
            for approval_id in ids:
                self._move(self._load(approval_id), ApprovalState.UNKNOWN, now_us, "", note)
            return ids

    def drop_stale(self, policy_digest: str, note: str, now_us: int) -> list[str]:
        """Withdraw open requests that were made under another policy, a batch; returns the ids."""
        with self._transaction():
            ids = self._ids(
                "state IN ('PENDING', 'APPROVED') AND policy_digest != ?", (policy_digest,)
            )
            for approval_id in ids:
                approval = self._load(approval_id)
                pending = approval.state is ApprovalState.PENDING
                state = ApprovalState.CANCELLED if pending else ApprovalState.REVOKED
                self._move(approval, state, now_us, "", note)
            return ids

    def find(self, viewer: Viewer, query: Query) -> tuple[list[Listed], str]:
        """Return one page of what `viewer` may see, and the next page's cursor or ""."""
        return find_page(self._db, viewer, query)

    @property
    def database(self) -> apsw.Connection:
        """The connection, for `gateway.approvals.background`. In the store's own thread only."""
        return self._db

    def counts(self) -> dict[str, int]:
        """Return how many requests stand in each state."""
        counts = {state.value: 0 for state in ApprovalState}
        for state, count in self._db.execute("SELECT state, count(*) FROM approvals GROUP BY 1"):
            counts[str(state)] = int(str(count))
        return counts

    # --- inside a transaction -------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: what is read here cannot be changed by anyone before it is written here.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _row(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        return self._db.execute(sql, values).fetchone()

    def _ids(self, where: str, values: Sequence[Any]) -> list[str]:
        # Batched: a transaction that moves ten thousand requests would hold up every decision.
        sql = f"SELECT id FROM approvals WHERE {where} LIMIT {_BATCH}"  # noqa: S608  our own text
        return [str(row[0]) for row in self._db.execute(sql, values)]

    def _load(self, approval_id: str) -> Approval:
        row = self._row(f"{schema.SELECT} WHERE id = ?", (approval_id,))
        if row is None:
            raise Refusal(RefusalCode.NOT_FOUND, "no such approval")
        votes = self._db.execute(
            "SELECT person, verdict, comment, time_us FROM approval_votes WHERE approval = ?"
            " ORDER BY time_us, person",
            (approval_id,),
        )
        steps = self._db.execute(
            "SELECT state, time_us, actor, note FROM approval_steps WHERE approval = ?"
            " ORDER BY version",
            (approval_id,),
        )
        return schema.decode(
            row,
            tuple(Vote(person=p, verdict=v, comment=c, time_us=t) for p, v, c, t in votes),
            tuple(Step(state=ApprovalState(s), time_us=t, actor=a, note=n) for s, t, a, n in steps),
        )

    def _check_room(self, principal_key: str) -> None:
        row = self._row(
            "SELECT count(*), count(*) FILTER (WHERE principal_key = ?) FROM approvals"
            " WHERE state = 'PENDING'",
            (principal_key,),
        )
        total, own = row if row is not None else (0, 0)
        if own >= APPROVALS_PENDING_PER_PRINCIPAL_MAX:
            raise Refusal(RefusalCode.TOO_MANY, f"{own} requests of yours are pending already")
        if total >= APPROVALS_PENDING_MAX:
            raise Refusal(RefusalCode.TOO_MANY, "too many requests are pending")

    def _require_pending(self, approval: Approval, now_us: int) -> None:
        if approval.state is not ApprovalState.PENDING:
            raise _conflict(approval)
        if approval.expires_us <= now_us:
            # Left to expire_due: raising undoes whatever this transaction wrote.
            raise Refusal(RefusalCode.CONFLICT, "this request has expired")

    def _expire_digest(self, digest: str, now_us: int) -> None:
        row = self._row(
            "SELECT id FROM approvals WHERE digest = ? AND state IN ('PENDING', 'APPROVED')"
            " AND expires_us <= ?",
            (digest, now_us),
        )
        if row is not None:
            self._expire(self._load(row[0]), now_us)

    def _expire(self, approval: Approval, now_us: int) -> None:
        pending = approval.state is ApprovalState.PENDING
        note = "nobody decided in time" if pending else "not used in time"
        self._move(approval, ApprovalState.EXPIRED, now_us, "", note)

    def _move(
        self,
        approval: Approval,
        state: ApprovalState,
        now_us: int,
        actor: str,
        note: str,
        *,
        expires_us: int | None = None,
    ) -> Approval:
        if not may_move(approval.state, state):
            raise InvariantError(f"approval {approval.id}: {approval.state} to {state}")
        self._db.execute(
            "UPDATE approvals SET state = ?, version = version + 1, expires_us = ?"
            " WHERE id = ? AND state = ? AND version = ?",
            (
                state.value,
                approval.expires_us if expires_us is None else expires_us,
                approval.id,
                approval.state.value,
                approval.version,
            ),
        )
        if self._db.changes() != 1:
            raise InvariantError(f"approval {approval.id} changed inside a transaction")
        self._add_step(approval.id, approval.version + 1, state, now_us, actor, note)
        moved = self._load(approval.id)
        self._on_move(Move(event=state.value.lower(), approval=moved, actor=actor, note=note))
        return moved

    def _add_step(
        self,
        approval_id: str,
        version: int,
        state: ApprovalState,
        time_us: int,
        actor: str,
        note: str,
    ) -> None:
        self._db.execute(
            "INSERT INTO approval_steps (approval, version, state, time_us, actor, note)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (approval_id, version, state.value, time_us, actor, note),
        )


def _conflict(approval: Approval) -> Refusal:
    return Refusal(RefusalCode.CONFLICT, f"this request is {approval.state.value.lower()} already")


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
