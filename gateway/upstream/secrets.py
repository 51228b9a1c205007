"""Get a target's database credential from where the configuration says it is.

The value is returned to the dialler and goes nowhere else: no error text, log line or
record made here holds it.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigError
from gateway.limits import SECRET_BYTES_MAX, SECRET_COMMAND_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Credential


def resolve_secret(credential: Credential, environ: Mapping[str, str]) -> bytes:
    """Return the secret of `credential`; blocks, so call it outside a running loop.

    Raises ConfigError, which names the source and never what it holds.
    """
    where = f"credential {credential.kind}"
    match credential.kind:
        case "none":
            return b""
        case "env":
            secret = environ.get(credential.value, "").encode(errors="surrogateescape")
            if not secret:
                raise ConfigError(where, f"environment variable {credential.value} is not set")
        case "file":
            secret = _read_file(where, Path(credential.value))
        case "command":
            secret = _run_command(where, credential.value)
        case _:
            raise ConfigError(where, "unknown kind of credential")
    if b"\0" in secret or len(secret) > SECRET_BYTES_MAX:
        raise ConfigError(where, "the secret is too long or holds a NUL byte")
    return secret


def _read_file(where: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 2)
    except OSError as error:
        raise ConfigError(where, f"{str(path)!r} cannot be read: {error.strerror}") from error
    return _strip_newline(where, secret)


def _run_command(where: str, command: str) -> bytes:
    try:
        # No shell: the words of the setting are the words of the program.
        done = subprocess.run(
            shlex.split(command), capture_output=True, check=True, timeout=SECRET_COMMAND_TIMEOUT_S
        )
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(where, f"the command cannot be run: {error}") from error
    except subprocess.TimeoutExpired:
        # Unchained, as below: the exception carries the program's output.
        raise ConfigError(where, f"the command took over {SECRET_COMMAND_TIMEOUT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(where, f"the command failed, status {error.returncode}") from None
    return _strip_newline(where, done.stdout)


def _strip_newline(where: str, secret: bytes) -> bytes:
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise ConfigError(where, "the secret is empty")
    return secret
