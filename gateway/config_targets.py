"""Settings of the databases behind the gateway: where they are, and who it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway import config_values as kinds
from gateway.config_credential import Credential, CredentialKeys
from gateway.config_values import section, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The server role each level of rights runs as."""

    read: str | None = setting(
        kinds.optional_string(), "Role set for statements under a read grant.", default=""
    )
    write: str | None = setting(
        kinds.optional_string(), "Role set for statements under a write grant.", default=""
    )
    admin: str | None = setting(
        kinds.optional_string(), "Role set for statements under an admin grant.", default=""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One database that clients reach by the target's name."""

    name: str
    host: str = setting(
        kinds.string(empty=False), "Host name, address, or directory of a Unix socket."
    )
    port: int = setting(kinds.integer(1, 65_535), "Port of the server.", default=5432)
    database: str = setting(kinds.string(empty=False), "Database on the server.")
    tls: str = setting(
        kinds.choice("disable", "require", "verify-ca", "verify-full"),
        "TLS to the server; not used on a Unix socket.",
        default="verify-full",
    )
    tls_ca: Path | None = setting(
        kinds.optional_path(),
        "Certificate authorities in PEM; empty means the system's.",
        default="",
    )
    user: str = setting(kinds.string(empty=False), "Login role on the server.")
    credential: Credential = section(
        CredentialKeys,
        "Where the login role's password is found.",
        build=CredentialKeys.build,
        default=lambda: Credential("none"),
    )
    roles: Roles = section(Roles, "SET ROLE per level; without one the login role serves it.")
    allow_superuser: bool = setting(
        kinds.boolean(),
        "Accept a login role with superuser rights; recorded in the audit trail.",
        default=False,
    )
