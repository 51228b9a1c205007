"""The connector's own settings: which gateways it serves, and what it lets them have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway import config_values as kinds
from gateway import limits
from gateway.config import Credential, Roles, Target
from gateway.config_build import Builder
from gateway.config_credential import CredentialKeys
from gateway.config_source import Sources
from gateway.config_values import named_sections, section, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One database that this connector reaches. What is not here is refused."""

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
    roles: tuple[str, ...] = setting(
        kinds.strings(),
        "Roles a gateway may ask for besides the login role. The login role must be a member "
        "of no other.",
        default=[],
    )
    spare: int = setting(
        kinds.integer(0, 100),
        "Logged-in connections kept ready for each level that was asked for before.",
        default=1,
    )
    streams: int = setting(
        kinds.integer(1, 10_000), "Connections handed out at the same time.", default=200
    )

    def target(self) -> Target:
        """Return what the dialler needs."""
        return Target(
            name=self.name,
            host=self.host,
            port=self.port,
            database=self.database,
            tls="disable" if self.host.startswith("/") else self.tls,
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            user=self.user,
            credential=self.credential,
            roles=Roles(read=None, write=None, admin=None),
            allow_superuser=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorSettings:
    """Everything the operator beside the database sets."""

    state_dir: Path = setting(
        kinds.path(),
        "Directory for the connector's keys and its audit file.",
        default="postern-connector",
    )
    gateways: tuple[str, ...] = setting(
        kinds.strings(least=1), "Addresses, `host:port`, of the gateways to dial."
    )
    allow_gateways: tuple[str, ...] = setting(
        kinds.strings(),
        "Fingerprints of the gateways that may ask; empty means those that were joined.",
        default=[],
    )
    join_token_file: Path | None = setting(
        kinds.optional_path(must_exist=False),
        "File with a join token, read while there is no key. POSTERN_JOIN_TOKEN goes first.",
        default="",
    )
    opens_per_s: int = setting(
        kinds.integer(1, 1_000),
        "Connections a gateway may ask for per second, with a burst of five times as many.",
        default=20,
    )
    targets: Mapping[str, Served] = named_sections(
        Served, "Databases, one table per name, as the gateway names them.", dict
    )


def load_connector(path: Path) -> ConnectorSettings:
    """Return the settings in `path`; raises ConfigError naming the place of the defect."""
    sources = Sources(ConnectorSettings)
    sources.add_file(path)
    builder = Builder(sources, path.resolve().parent)
    settings = cast("ConnectorSettings", cast("Any", builder.build(ConnectorSettings)))
    for address in settings.gateways:
        try:
            kinds.split_address(address)
        except ValueError as error:
            raise builder.error(("gateways",), str(error)) from error
    if not settings.targets or len(settings.targets) > limits.TARGETS_MAX:
        raise builder.error(("targets",), f"1 to {limits.TARGETS_MAX} are needed")
    for served in settings.targets.values():
        if (served.tls_cert is None) != (served.tls_key is None):
            where = ("targets", served.name, "tls_cert")
            raise builder.error(where, "tls_cert and tls_key go together")
    return settings
