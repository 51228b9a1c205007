"""The settings of one target: where its server is, or which connector reaches it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import config_values as kinds
from gateway.config_credential import Credential, CredentialKeys
from gateway.config_values import section, setting

if TYPE_CHECKING:
    from gateway.config_build import Builder
    from gateway.config_source import Sources

_SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path of a Unix address, without its end


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
        kinds.string(),
        "Host name, address, or directory of a Unix socket; not with `connector`.",
        default="",
    )
    connector: str | None = setting(
        kinds.optional_string(),
        "Name of the connector that reaches the server and holds its credential.",
        default="",
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
    tls_cert: Path | None = setting(
        kinds.optional_path(), "Certificate in PEM to log in with at the server.", default=""
    )
    tls_key: Path | None = setting(
        kinds.optional_path(), "Private key in PEM that belongs to `tls_cert`.", default=""
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


def check_target(target: Target, builder: Builder, sources: Sources) -> None:
    """Raise ConfigError for settings of one target that do not go together."""
    where = ("targets", target.name)
    if target.host.startswith("/") and sources.get((*where, "tls")) and target.tls != "disable":
        raise builder.error((*where, "tls"), "a Unix socket carries no TLS; leave it out")
    if (target.tls_cert is None) != (target.tls_key is None):
        raise builder.error((*where, "tls_cert"), "tls_cert and tls_key go together")
    if target.connector is None:
        if not target.host:
            raise builder.error((*where, "host"), "required and not set, or give connector")
        return
    # Whoever reads the file must not believe that the gateway holds what it does not use.
    for name in ("host", "port", "tls", "tls_ca", "tls_cert", "allow_superuser"):
        if sources.get((*where, name)) is not None:
            raise builder.error((*where, name), "is the connector's to set; leave it out")
    if target.credential.kind != "none":
        raise builder.error((*where, "credential"), "stays with the connector; leave it out")


def with_socket(target: Target, data_dir: Path) -> Target:
    """Return `target`; one behind a connector gets the socket where this host meets it."""
    if target.connector is None:
        return target
    host = str((data_dir / "run" / "connectors" / target.name).absolute())
    return replace(target, host=host, port=5432, tls="disable")


def socket_is_too_long(target: Target) -> bool:
    """Whether no Unix address can hold the path of this target's socket."""
    return len(f"{target.host}/.s.PGSQL.{target.port}".encode()) > _SOCKET_PATH_BYTES_MAX
