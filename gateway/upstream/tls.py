"""Make the TLS client context of a target, with libpq's meaning of each mode."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Target

MODES = ("disable", "require", "verify-ca", "verify-full")


def build_target_context(target: Target) -> ssl.SSLContext | None:
    """Return the context for logins at `target`, None for plain text; raises ConfigError.

    Reads the files each time: a renewed certificate counts from the next connection on.
    """
    if target.host.startswith("/"):
        return None
    where = f"targets.{target.name}"
    context = build_client_context(where, target.tls, target.tls_ca)
    if context is not None and target.tls_cert is not None:
        try:
            context.load_cert_chain(target.tls_cert, target.tls_key, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(where, f"tls_cert {str(target.tls_cert)!r}: {error}") from error
    return context


def _no_passphrase() -> str:
    # Otherwise OpenSSL would ask at the terminal.
    raise ValueError("a key with a passphrase cannot be used")


def build_client_context(where: str, mode: str, ca: Path | None) -> ssl.SSLContext | None:
    """Return the context for `mode`, or None for plaintext; raises ConfigError at `where`."""
    if mode == "disable":
        return None
    if mode not in MODES:
        raise ConfigError(where, f"tls must be one of {', '.join(MODES)}, got {mode!r}")
    if mode == "verify-ca" and ca is None:
        # Any public authority would do, so any holder of any certificate would pass.
        raise ConfigError(where, "tls = verify-ca needs tls_ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["postgresql"])
    context.check_hostname = mode == "verify-full"
    if mode == "require" and ca is None:
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(where, f"tls_ca {str(ca)!r} cannot be read: {error}") from error
    return context
