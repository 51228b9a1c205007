"""Make the TLS client context of a target, with libpq's meaning of each mode."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MODES = ("disable", "require", "verify-ca", "verify-full")


def build_client_context(where: str, mode: str, ca: Path | None) -> ssl.SSLContext | None:
    """Return the context for `mode`, or None for plaintext; raises ConfigError at `where`.

    Reads the CA file each time: a renewed one counts from the next connection on.
    """
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
