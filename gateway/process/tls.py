"""The server side TLS context of client connections."""

from __future__ import annotations

import ssl

from gateway.config import Listen
from gateway.errors import ConfigError


def build_server_context(listen: Listen) -> ssl.SSLContext | None:
    """Return the context for clients, None when no certificate is configured.

    Raises ConfigError when certificate and key cannot be used.
    """
    if listen.tls_cert is None or listen.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["postgresql"])

    def refuse_passphrase() -> str:
        raise ConfigError("listen.tls_key", "a key with a passphrase cannot be used")

    try:
        context.load_cert_chain(listen.tls_cert, listen.tls_key, password=refuse_passphrase)
    except (OSError, ssl.SSLError) as error:
        where = f"{listen.tls_cert}, {listen.tls_key}"
        raise ConfigError("listen.tls_cert", f"{where}: {error.strerror or error}") from error
    if listen.tls_client_ca is not None:
        try:
            context.load_verify_locations(listen.tls_client_ca)
        except (OSError, ssl.SSLError) as error:
            where = f"{listen.tls_client_ca}: {error.strerror or error}"
            raise ConfigError("listen.tls_client_ca", where) from error
        # A certificate proves nothing by itself; a token that is bound to one needs it.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
