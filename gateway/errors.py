"""The error taxonomy: which failure is whose, and what a client may be told about it.

Everything raised on purpose derives from `GatewayError`. A `ClientError` class fixes the
identifier, SQLSTATE, severity and retry advice of the one ErrorResponse it becomes; what must
not leave the gateway goes into `reason`, which only the audit trail sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from gateway.text import clean_text as clean_text
from gateway.text import quote_name as quote_name

Severity = Literal["ERROR", "FATAL"]
Retry = Literal["never", "later", "same_statement_later", "after_change", "new_login", "reconnect"]


class GatewayError(Exception):
    """Base of everything the gateway raises on purpose."""


class ConfigError(GatewayError):
    """A setting that cannot be used. Startup only; the process exits with status 78."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
        self.message = message


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect in a policy file; `line` and `column` count from 1, 0 means unknown."""

    file: str
    line: int
    column: int
    message: str

    @property
    def where(self) -> str:
        """The place as `file:line:column`, leaving out what is not known."""
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.file, *numbers])

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class PolicyError(GatewayError):
    """A policy bundle that must not be activated. The active one keeps running."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


class UpstreamError(GatewayError):
    """The database server cannot be reached, refuses us, or breaks the protocol.

    The message never holds the credential and may be shown to an operator.
    """

    def __init__(self, message: str, *, sqlstate: str = "08006") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class InvariantError(GatewayError):
    """Our own bug: log it and close the session; exit 70 if shared state is suspect."""


class ClientError(GatewayError):
    """Becomes exactly one ErrorResponse.

    `message`, `hint` and `facts` are sent: the caller quotes identifiers with `quote_name` and
    puts no row value and nothing a principal may not see there. `reason` is recorded and never
    sent. `position` counts characters of the statement from 1.
    """

    id: ClassVar[str] = ""
    sqlstate: ClassVar[str] = ""
    severity: ClassVar[Severity] = "ERROR"
    retry: ClassVar[Retry] = "never"
    default_hint: ClassVar[str] = ""
    fixed_message: ClassVar[str] = ""  # where any other words would help an attacker

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        facts: Mapping[str, object] | None = None,
        reason: str = "",
        position: int | None = None,
    ) -> None:
        super().__init__(message)
        fixed = bool(self.fixed_message)
        self.message = self.fixed_message or message
        self.hint = self.default_hint if fixed else hint or self.default_hint
        self.facts: dict[str, object] = {} if fixed else dict(facts or {})
        self.reason = reason or (message if fixed else "")
        self.position = position

    @property
    def wire_id(self) -> str:
        """The identifier the client sees; differs from `id` where the two must look alike."""
        return self.id

    def text(self) -> str:
        """Return the first line of the ErrorResponse: identifier, message, at most 300 bytes."""
        return clean_text(f"{self.wire_id} {self.message}")


class TokenInvalid(ClientError):
    """The token is missing or does not verify.

    The client always reads the same words: which check failed would help only an attacker,
    so a message given here becomes the `reason`.
    """

    id = "PN101"
    sqlstate = "28P01"
    severity = "FATAL"
    retry = "new_login"
    default_hint = "Send a current token of an accepted issuer as the password."
    fixed_message = "authentication failed: the token was not accepted"


class TokenExpired(TokenInvalid):
    """The token verified and is past its expiry; on the wire the same as `TokenInvalid`."""

    id = "PN102"

    @property
    def wire_id(self) -> str:
        """PN101: an expired token must not be told from an invalid one."""
        return TokenInvalid.id


class NoGrantOnTarget(ClientError):
    """The identity has no grant on the target, or the target does not exist."""

    id = "PN103"
    sqlstate = "28000"
    severity = "FATAL"
    default_hint = "Ask the policy owner for a grant, or check the database name."


class TlsRequired(ClientError):
    """The client tried to log in over an unencrypted connection."""

    id = "PN105"
    sqlstate = "28000"
    severity = "FATAL"
    retry = "reconnect"
    default_hint = "Connect with sslmode=require or stronger."


class TooManySessions(ClientError):
    """A session or server-connection limit is reached."""

    id = "PN106"
    sqlstate = "53300"
    severity = "FATAL"
    retry = "later"
    default_hint = "Close idle sessions or try again later."


class NotReady(ClientError):
    """The gateway is starting, draining, or has no usable policy or catalog yet."""

    id = "PN107"
    sqlstate = "57P03"
    severity = "FATAL"
    retry = "later"
    default_hint = "Try again in a moment."


class ProtocolViolation(ClientError):
    """The peer broke the wire protocol; the connection cannot be resynchronised."""

    id = "PN108"
    sqlstate = "08P01"
    severity = "FATAL"
    retry = "reconnect"


class IdentityExpired(ClientError):
    """The token of a running session reached its expiry."""

    id = "PN201"
    sqlstate = "57P01"
    severity = "FATAL"
    retry = "new_login"
    default_hint = "Reconnect with a fresh token."


class IdentityRevoked(ClientError):
    """The subject, group, token or session was revoked."""

    id = "PN202"
    sqlstate = "57P01"
    severity = "FATAL"
    default_hint = "Ask an administrator why access was revoked."


class ShuttingDown(ClientError):
    """The worker of this session drains; another one takes the client at once."""

    id = "PN204"
    sqlstate = "57P01"
    severity = "FATAL"
    retry = "reconnect"
    default_hint = "Reconnect."


class SessionIdle(ClientError):
    """The session was idle for longer than allowed."""

    id = "PN203"
    sqlstate = "57P05"
    severity = "FATAL"
    retry = "reconnect"
    default_hint = "Reconnect when there is work to do."


class NotGranted(ClientError):
    """No grant covers an effect of the statement, or the object is not visible."""

    id = "PN301"
    sqlstate = "42501"
    default_hint = "SHOW postern.grants lists what is allowed."


class DeniedByRule(ClientError):
    """A deny rule covers an effect of the statement."""

    id = "PN302"
    sqlstate = "42501"
    default_hint = "No approval overrides this rule."


class WriteUnderRead(ClientError):
    """The statement writes and the session holds read only."""

    id = "PN303"
    sqlstate = "25006"
    retry = "after_change"
    default_hint = "Use a statement that only reads; SHOW postern.grants lists what is allowed."


class StatementSyntax(ClientError):
    """The statement does not parse; the position is the server's own."""

    id = "PN304"
    sqlstate = "42601"
    retry = "after_change"


class NotUnderstood(ClientError):
    """The statement holds something the gateway does not judge, so it does not run."""

    id = "PN305"
    sqlstate = "0A000"
    retry = "after_change"
    default_hint = "Write the statement in a simpler form."


class MaskedColumnUse(ClientError):
    """A masked column is used where its value could leak."""

    id = "PN307"
    sqlstate = "42501"
    retry = "after_change"
    default_hint = "Select the column by itself, or leave it out; SHOW postern.masks lists it."


class TooComplex(ClientError):
    """The statement is longer or nested deeper than the gateway analyses."""

    id = "PN308"
    sqlstate = "54001"
    retry = "after_change"
    default_hint = "Split the statement; pass long lists as one array parameter."


class Cancelled(ClientError):
    """The client cancelled the statement while the gateway held it."""

    id = "PN309"
    sqlstate = "57014"
    retry = "same_statement_later"


class ApprovalPending(ClientError):
    """The statement waits for a person's approval."""

    id = "PN401"
    sqlstate = "55000"
    retry = "same_statement_later"
    default_hint = "Send the identical statement again once it is approved."


class ApprovalDenied(ClientError):
    """A reviewer denied the statement."""

    id = "PN402"
    sqlstate = "42501"
    default_hint = "Read the reviewer's comment before asking for something else."


class ApprovalExpired(ClientError):
    """Nobody approved in time, or the approval was not used in time."""

    id = "PN403"
    sqlstate = "55000"
    retry = "same_statement_later"
    default_hint = "Sending the statement again files a new request."


class ApprovalDiffers(ClientError):
    """What is to run is not what was approved."""

    id = "PN404"
    sqlstate = "55000"
    retry = "after_change"
    default_hint = "Send exactly the approved statement and parameters, or ask again."


class OverRows(ClientError):
    """The result holds more rows or bytes than allowed."""

    id = "PN501"
    sqlstate = "54000"
    retry = "after_change"
    default_hint = "Add a LIMIT or narrow the condition."


class OverTime(ClientError):
    """The statement ran longer than allowed and was cancelled."""

    id = "PN502"
    sqlstate = "57014"
    retry = "after_change"
    default_hint = "Narrow the statement so that it finishes in time."


class OverCost(ClientError):
    """The planner's estimate is above the allowed cost."""

    id = "PN503"
    sqlstate = "54001"
    retry = "after_change"
    default_hint = "Narrow the statement or use an indexed column in the condition."


class OverBudget(ClientError):
    """The principal's budget is spent."""

    id = "PN504"
    sqlstate = "53400"
    retry = "later"
    default_hint = "SHOW postern.budget tells when it resets."


class AuditUnwritable(ClientError):
    """The audit trail takes no record, so nothing is forwarded."""

    id = "PN701"
    sqlstate = "58030"
    retry = "later"
    default_hint = "Tell the operator; nothing was executed."


class ServerLost(ClientError):
    """The server connection broke while this session held it."""

    id = "PN702"
    sqlstate = "08006"
    severity = "FATAL"
    retry = "reconnect"
    default_hint = "Reconnect and check whether the last statement took effect."


def _collect(base: type[ClientError]) -> dict[str, type[ClientError]]:
    found: dict[str, type[ClientError]] = {}
    for cls in base.__subclasses__():
        found[cls.id] = cls
        found.update(_collect(cls))
    return found


# Built from the classes so that a new one cannot be forgotten.
ERRORS: Final[Mapping[str, type[ClientError]]] = dict(sorted(_collect(ClientError).items()))
