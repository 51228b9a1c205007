"""How a client hands over its token: as a cleartext password, or by SASL OAUTHBEARER.

PostgreSQL has the server choose, so the client must have said beforehand that it wants the
latter: by `-c postern.auth=oauth` in `options`, or the operator by `listen.auth`.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol

from gateway.errors import TokenInvalid
from gateway.protocol import oauthbearer
from gateway.protocol.messages import build_auth_cleartext, parse_password

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.policy.principal import Principal


class Presenting(Protocol):
    """One client's way. `take` is given each message's payload until it returns a token."""

    def challenge(self) -> bytes:
        """Return what the client is asked."""
        ...

    def take(self, payload: bytes) -> tuple[bytes | None, bytes]:
        """Return the token, or None and what the client is told meanwhile.

        Raises ProtocolViolation for what is out of form, TokenInvalid when there is no token.
        """
        ...


class AsPassword:
    """Any driver: the token is the password."""

    def challenge(self) -> bytes:
        """Ask for a cleartext password; the caller is inside TLS or on this host."""
        return build_auth_cleartext()

    def take(self, payload: bytes) -> tuple[bytes | None, bytes]:
        """Return the password."""
        return parse_password(payload), b""


class AsBearer:
    """libpq 18 and later with `oauth_issuer`."""

    def __init__(self, config: Config) -> None:
        self._issuer = find_discovery(config)
        self._scope = config.listen.oauth_scope
        self._asked = False

    def challenge(self) -> bytes:
        """Offer OAUTHBEARER."""
        return oauthbearer.build_auth_sasl()

    def take(self, payload: bytes) -> tuple[bytes | None, bytes]:
        """Return the token, or where to get one to a client that has none yet."""
        if self._asked:
            oauthbearer.check_dummy_response(payload)
            raise TokenInvalid(reason="asked where to get a token")
        token = oauthbearer.parse_initial_response(payload)
        if token:
            return token, b""
        self._asked = True
        return None, oauthbearer.build_discovery(self._issuer, self._scope)


def find_discovery(config: Config) -> str:
    """Return the issuer that clients are sent to for a token, "" when there is none."""
    chosen = config.listen.oauth_issuer
    for issuer in config.issuers:
        if issuer.id == chosen or (chosen is None and issuer.kind == "oidc"):
            return issuer.issuer
    return ""


def choose(config: Config, asked: str) -> Presenting:
    """Return the way for a client that asked for `asked`, "" when it did not."""
    return AsBearer(config) if (asked or config.listen.auth) == "oauth" else AsPassword()


def thumbprint(certificate: bytes | None) -> str | None:
    """Return the SHA-256 of a DER certificate as `x5t#S256` writes it, None without one."""
    if not certificate:
        return None
    digest = hashlib.sha256(certificate).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def check_certificate(principal: Principal, presented: str | None) -> None:
    """Raise TokenInvalid when the token is bound to another certificate than the client has."""
    if principal.certificate is not None and principal.certificate != presented:
        why = "none was shown" if presented is None else "another was shown"
        raise TokenInvalid(reason=f"bound to a client certificate, and {why}")
