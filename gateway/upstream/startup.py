"""Decide what every server connection is started with: the pins and the role.

Settings that change how text is parsed or printed are fixed for the whole fleet of server
connections, so that what was analysed is what runs. Nothing a client chose is in here
(CVE-2025-12819): its own settings are applied later, on its own connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gateway.errors import InvariantError, quote_name
from gateway.protocol.settings import PINS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Target

Level = Literal["read", "write", "admin"]


def build_server_startup(target: Target, level: Level) -> dict[str, str]:
    """Return the startup parameters of a server connection that serves `level`."""
    startup = {
        "user": target.user,
        "database": target.database,
        "application_name": "postern",
        **PINS,
    }
    if level == "read":
        # The second lock: it holds where the analyser erred.
        startup["default_transaction_read_only"] = "on"
    return startup


def build_role_setup(target: Target, level: Level) -> bytes:
    """Return the text of the query that takes on the role of `level`; empty without a role."""
    role: str | None = getattr(target.roles, level)
    return f"SET ROLE {quote_name(role)}".encode() if role else b""


def build_settings_query(settings: Mapping[str, str]) -> bytes:
    """Return the text that applies a client's screened settings; empty when there are none.

    The caller must have the server at `standard_conforming_strings = on`, which is a pin.
    """
    return "; ".join(
        f"SET {_name(name)} TO {_literal(settings[name])}" for name in settings
    ).encode()


def find_broken_pin(startup: Mapping[str, str], reported: Mapping[str, str]) -> str | None:
    """Return the first pinned setting of `startup` that the server reports otherwise."""
    for name in PINS:
        if name not in startup or name not in reported:
            continue
        # The server completes DateStyle by the order of day and month: "ISO, MDY".
        if reported[name].split(",")[0].casefold() != startup[name].casefold():
            return name
    return None


def _name(name: str) -> str:
    if not name.replace("_", "a").isalnum() or not name.isascii():
        raise InvariantError(f"not the name of a setting: {name!r}")
    return name


def _literal(value: str) -> str:
    if "\0" in value:
        raise InvariantError("a setting cannot hold a NUL byte")
    return "'" + value.replace("'", "''") + "'"
