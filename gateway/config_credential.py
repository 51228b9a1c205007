"""Settings of a credential: where a password is found, never the password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from gateway import config_values as kinds
from gateway import limits
from gateway.config_values import setting

SECRET_TTL_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Credential:
    """Where a password is found; never the password."""

    kind: Literal["env", "file", "command", "vault", "none"]
    value: str = ""
    field: str = "password"  # of a Vault secret
    ttl_s: float = SECRET_TTL_S  # how long what a command or Vault gave is used


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialKeys:
    """The keys of a `credential` table."""

    env: str | None = setting(
        kinds.optional_string(), "Environment variable that holds the password.", default=""
    )
    file: Path | None = setting(
        kinds.optional_path(must_exist=False),
        "File that holds the password; read again for every login.",
        default="",
    )
    command: str | None = setting(
        kinds.command(), "Command that prints the password, run again after `ttl`.", default=""
    )
    vault: str | None = setting(
        kinds.optional_string(),
        "Path of a secret in HashiCorp Vault, such as `secret/data/orders` or, for credentials "
        "made on demand, `database/creds/orders`. VAULT_ADDR and VAULT_TOKEN or "
        "VAULT_TOKEN_FILE say where and as whom.",
        default="",
    )
    field: str = setting(
        kinds.string(empty=False), "Field of the Vault secret to use.", default="password"
    )
    ttl_s: float = setting(
        kinds.duration(0.0, limits.SECRET_TTL_S_MAX),
        "How long the output of a command, or a Vault secret without a lease, is used.",
        default="5m",
        key="ttl",
    )

    def build(self) -> Credential:
        """Return the one credential these keys name; raises ValueError for two."""
        given: list[Credential] = []
        if self.env:
            given.append(Credential("env", self.env))
        if self.file:
            given.append(Credential("file", str(self.file)))
        if self.command:
            given.append(Credential("command", self.command, ttl_s=self.ttl_s))
        if self.vault:
            given.append(Credential("vault", self.vault, self.field, self.ttl_s))
        if len(given) > 1:
            msg = f"give one of env, file, command or vault, not {len(given)}"
            raise ValueError(msg)
        return given[0] if given else Credential("none")
