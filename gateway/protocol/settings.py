"""Sort the settings a client asks for at startup: applied, left out, or refused.

Default deny by closed lists. A setting that changes what a statement means must equal its pin;
one that only tunes how the server computes is left out rather than refused, since drivers
send such settings unasked and refusing them is the usual "cannot connect" (PgBouncer #89).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.errors import NotGranted, ProtocolViolation, quote_name
from gateway.protocol.options import parse_options

# What every server connection is started with. The relay watches that it stays so.
PINS: Mapping[str, str] = {
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
}

_APPLICATION_NAME_MAX = 63
_TIMEOUT_MS_MAX = 2_147_483_647
_UNIT_MS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIMEOUT = re.compile(r"\s*(\d{1,10})\s*(us|ms|s|min|h|d)?\s*")
_TIME_ZONE = re.compile(r"[A-Za-z0-9_+<>][A-Za-z0-9_+\-/:<>,.]{0,62}")
_TRUE = frozenset({"on", "true", "yes", "1", "t", "tr", "tru", "y", "ye"})
_FALSE = frozenset({"off", "of", "false", "no", "0", "f", "fa", "fal", "fals", "n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupSettings:
    """A client's startup parameters, screened."""

    database: str
    user: str
    settings: dict[str, str]  # canonical name and checked value, to apply on the server
    ignored: tuple[str, ...]  # known to be without effect on results, and left out
    auth: str = ""  # how the client wants to present its token: "password", "oauth", or ours


class StartupRefused(NotGranted):
    """A startup parameter that could change what statements mean; ends the connection."""

    severity = "FATAL"
    retry = "after_change"
    default_hint = "Leave the parameter out of the connection string."


def screen_startup(params: Mapping[str, str]) -> StartupSettings:
    """Return what `params` of a StartupMessage ask for.

    Raises StartupRefused naming the first setting that is not allowed, and ProtocolViolation
    when `options` does not parse.
    """
    asked = dict(params)
    user = asked.pop("user", "")
    database = asked.pop("database", "") or user
    if not user:
        raise ProtocolViolation("no user name in startup packet", reason="startup_user")
    _refuse_replication(asked.pop("replication", "off"))
    # As in the server: the packet's own parameters win over those inside `options`.
    merged = parse_options(asked.pop("options", ""))
    direct = {name.lower() for name in asked}
    merged = {name: merged[name] for name in merged if name.lower() not in direct} | asked

    auth = merged.pop("postern.auth", "")
    if auth not in {"", "password", "oauth"}:
        raise _refused("postern.auth", "is password or oauth")

    settings: dict[str, str] = {}
    ignored: list[str] = []
    for name, value in merged.items():
        canonical = _CANONICAL.get(name.lower())
        if canonical is None:
            if not _TUNING.fullmatch(name.lower()):
                raise _refused(name, "is not one a client may set here")
            ignored.append(name.lower())
            continue
        checked = _CHECKS[canonical](value)
        if checked is None:
            raise _refused(canonical, f"may not be {_shown(value)}")
        if checked or canonical == "application_name":
            settings[canonical] = checked
    return StartupSettings(
        database=database, user=user, settings=settings, ignored=tuple(ignored), auth=auth
    )


def _refuse_replication(value: str) -> None:
    if value.strip().lower() not in _FALSE:
        raise StartupRefused(
            "replication connections are not allowed",
            hint="Connect without the replication parameter.",
            facts={"setting": "replication"},
            reason="startup_replication",
        )


def _refused(name: str, why: str) -> StartupRefused:
    shown = name[:63]
    return StartupRefused(
        f"startup parameter {quote_name(shown)} {why}",
        facts={"setting": shown},
        reason="startup_setting",
    )


def _shown(value: str) -> str:
    return "'" + value[:40].replace("'", "''") + "'"


# Checks return the value to apply, "" when nothing needs to be, None for refused.
_Check = Callable[[str], "str | None"]


def _pinned(*accepted: str) -> _Check:
    def check(value: str) -> str | None:
        # asyncpg sends 'utf-8' with the quotes; the server ignores case and punctuation too.
        return "" if re.sub(r"[^a-z0-9]", "", value.lower()) in accepted else None

    return check


def _application_name(value: str) -> str:
    text = "".join(char if " " <= char <= "~" else "?" for char in value)
    return text[:_APPLICATION_NAME_MAX]


def _time_zone(value: str) -> str | None:
    # The server looks the name up as a file below its own directory.
    return value if _TIME_ZONE.fullmatch(value) and ".." not in value else None


def _date_style(value: str) -> str | None:
    words = [word.strip().lower() for word in value.replace('"', "").split(",")]
    orders = {"mdy": "MDY", "us": "MDY", "noneuropean": "MDY", "dmy": "DMY", "euro": "DMY"}
    orders |= {"european": "DMY", "ymd": "YMD"}
    found = {orders.get(word, "") for word in words if word != "iso"}
    if "" in found or len(found) > 1 or len(words) > 2:
        return None
    return f"ISO, {found.pop()}" if found else ""


def _extra_float_digits(value: str) -> str | None:
    text = value.strip()
    if not re.fullmatch(r"[+-]?\d{1,2}", text) or not -15 <= int(text) <= 3:
        return None
    return str(int(text))


def _timeout(value: str) -> str | None:
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        return None
    milliseconds = int(found[1]) * _UNIT_MS[found[2] or "ms"]
    if milliseconds > _TIMEOUT_MS_MAX:
        return None
    # Zero means no limit: the client asks for none of its own, ours stays.
    return f"{max(1, round(milliseconds))}ms" if milliseconds else ""


def _one_of(*accepted: str) -> _Check:
    def check(value: str) -> str | None:
        text = value.strip().lower()
        return text if text in accepted else None

    return check


def _switch_on(value: str) -> str | None:
    text = value.strip().lower()
    if text in _TRUE:
        return "on"
    # "off" asks for nothing: where the level pins it on, it stays on.
    return "" if text in _FALSE else None


_CHECKS: Mapping[str, _Check] = {
    "client_encoding": _pinned("utf8", "unicode"),
    "standard_conforming_strings": _pinned("on", "true", "yes", "1"),
    "IntervalStyle": _pinned("postgres"),
    "bytea_output": _pinned("hex"),
    "DateStyle": _date_style,
    "application_name": _application_name,
    "TimeZone": _time_zone,
    "extra_float_digits": _extra_float_digits,
    "statement_timeout": _timeout,
    "lock_timeout": _timeout,
    "idle_in_transaction_session_timeout": _timeout,
    "default_transaction_read_only": _switch_on,
    "default_transaction_deferrable": _switch_on,
    "default_transaction_isolation": _one_of(
        "serializable", "repeatable read", "read committed", "read uncommitted"
    ),
    "client_min_messages": _one_of("notice", "warning", "error"),
}
_CANONICAL = {name.lower(): name for name in _CHECKS}

# Planner, JIT and keep-alive settings: how, never what.
_TUNING = re.compile(
    r"enable_[a-z_]{1,40}|geqo(_[a-z_]{1,30})?|jit(_[a-z_]{1,30})?|tcp_[a-z_]{1,30}"
    r"|random_page_cost|seq_page_cost|cpu_[a-z_]{1,30}|(from|join)_collapse_limit"
    r"|cursor_tuple_fraction|effective_cache_size|idle_session_timeout|transaction_timeout"
)
