"""How a guard wants its approvals: who, how many, when, after how fresh a login, for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from gateway.approvals.bounds import NAMES_MAX, TTL_S_MAX
from gateway.approvals.wire import invalid, name, names, seconds

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours of some days in one time zone; `until` before `since` means over midnight."""

    days: tuple[str, ...]
    since: str  # "08:00"
    until: str
    timezone: str

    def holds(self, now_s: float) -> bool:
        """Tell whether `now_s` is inside. A window over midnight belongs to the day it began."""
        moment = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(self.timezone))
        since, until = time.fromisoformat(self.since), time.fromisoformat(self.until)
        clock, today = moment.time(), moment.weekday()
        if since < until:
            return DAYS[today] in self.days and since <= clock < until
        if clock >= since:
            return DAYS[today] in self.days
        return clock < until and DAYS[today - 1] in self.days

    def __str__(self) -> str:
        return f"{' '.join(self.days)} {self.since}-{self.until} {self.timezone}"

    def to_wire(self) -> dict[str, object]:
        """Return a plain dict."""
        return {
            "days": list(self.days), "from": self.since, "to": self.until,
            "timezone": self.timezone,
        }  # fmt: skip

    @classmethod
    def from_wire(cls, wire: object) -> Window:
        """Rebuild what `to_wire` gave; raises Refusal."""
        if not isinstance(wire, dict):
            raise invalid("approval.windows")
        window = cls(
            days=names(wire, "days"),
            since=name(wire, "from"),
            until=name(wire, "to"),
            timezone=name(wire, "timezone"),
        )
        try:
            window.holds(0.0)
        except (ValueError, KeyError, OSError) as exc:  # no such hour or zone
            raise invalid("approval.windows") from exc
        return window


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What `Decision.approval` says, checked."""

    rule: str
    approvers: tuple[str, ...]  # policy groups
    quorum: int
    hold_s: float
    request_ttl_s: float
    grant_ttl_s: float
    because: tuple[str, ...] = ()
    comment_required: bool = False
    login_within_s: float = 0.0  # how long ago the reviewer may have logged in; 0: any time
    windows: tuple[Window, ...] = ()  # all of them must hold
    dry_run_count: bool = False
    max_rows_seen: float = 0.0  # factor over the rows the reviewer saw; 0: no bound

    def to_wire(self) -> dict[str, object]:
        """Return the form `Decision.approval` has."""
        return {
            "rule": self.rule,
            "from": list(self.approvers),
            "quorum": self.quorum,
            "hold_s": self.hold_s,
            "request_ttl_s": self.request_ttl_s,
            "grant_ttl_s": self.grant_ttl_s,
            "because": list(self.because),
            "comment_required": self.comment_required,
            "login_within_s": self.login_within_s,
            "windows": [window.to_wire() for window in self.windows],
            "dry_run_count": self.dry_run_count,
            "max_rows_seen": self.max_rows_seen,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Terms:
        """Take `Decision.approval`; raises Refusal when it is not one."""
        if not isinstance(wire, dict):
            raise invalid("approval")
        quorum = wire.get("quorum", 1)
        # A quorum below one would let a request approve itself.
        if not isinstance(quorum, int) or isinstance(quorum, bool) or not 1 <= quorum <= NAMES_MAX:
            raise invalid("approval.quorum")
        approvers = names(wire, "from")
        if not approvers:
            raise invalid("approval.from")
        windows = wire.get("windows", [])
        if not isinstance(windows, list) or len(windows) > NAMES_MAX:
            raise invalid("approval.windows")
        return cls(
            rule=name(wire, "rule"),
            approvers=approvers,
            quorum=quorum,
            hold_s=seconds(wire, "hold_s", minimum=0.0),
            request_ttl_s=seconds(wire, "request_ttl_s", minimum=1.0),
            grant_ttl_s=seconds(wire, "grant_ttl_s", minimum=1.0),
            because=names(wire, "because"),
            comment_required=_flag(wire, "comment_required"),
            login_within_s=_number(wire, "login_within_s"),
            windows=tuple(Window.from_wire(window) for window in windows),
            dry_run_count=_flag(wire, "dry_run_count"),
            max_rows_seen=_number(wire, "max_rows_seen"),
        )


# Requests that were stored by an earlier version have none of these fields.


def _flag(wire: dict[str, Any], key: str) -> bool:
    value = wire.get(key, False)
    if not isinstance(value, bool):
        raise invalid(f"approval.{key}")
    return value


def _number(wire: dict[str, Any], key: str) -> float:
    value = wire.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= TTL_S_MAX:
        raise invalid(f"approval.{key}")
    return float(value)
