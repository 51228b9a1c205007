"""Where a secret is found: the environment, a file or a command. Never the secret itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway import config_values as kinds
from gateway.config_values import setting


@dataclass(frozen=True, slots=True)
class Credential:
    """Where a password is found; never the password."""

    kind: Literal["env", "file", "command", "none"]
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialKeys:
    """The keys of such a table."""

    env: str | None = setting(
        kinds.optional_string(), "Environment variable that holds the password.", default=""
    )
    file: Path | None = setting(
        kinds.optional_path(must_exist=False), "File that holds the password.", default=""
    )
    command: str | None = setting(kinds.command(), "Command that prints the password.", default="")

    def build(self) -> Credential:
        """Return the one credential these keys name; raises ValueError for two."""
        given: list[Credential] = []
        if self.env:
            given.append(Credential("env", self.env))
        if self.file:
            given.append(Credential("file", str(self.file)))
        if self.command:
            given.append(Credential("command", self.command))
        if len(given) > 1:
            msg = f"give one of env, file or command, not {len(given)}"
            raise ValueError(msg)
        return given[0] if given else Credential("none")
