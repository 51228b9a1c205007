"""The connector's key for one gateway, on disk: made here, never sent anywhere."""

from __future__ import annotations

import datetime
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from gateway.errors import ConfigError
from gateway.identity.authority import ALPN, fingerprint
from gateway.identity.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_RENEW_SHARE = 1 / 3  # of its life left: time for a new key


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token and the certificate of the gateway it may be shown to."""

    token: str
    pin: str


def parse_join_token(text: str) -> JoinToken:
    """Read what `postern connector join` printed; raises ConfigError."""
    token, _, pin = text.strip().partition(".")
    if not re.fullmatch(r"pnj_[A-Za-z0-9_-]{20,100}", token) or not re.fullmatch(
        r"[0-9a-f]{64}", pin
    ):
        raise ConfigError("join token", "not what `postern connector join` prints")
    return JoinToken(token, pin)


class Keys:
    """Key, certificate and authority of one gateway, in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Key and certificate in one file: they are replaced together or not at all.
        self._identity = directory / "identity.pem"
        self._authority = directory / "authority.pem"

    @property
    def is_there(self) -> bool:
        """Whether this gateway was joined."""
        return self._identity.exists() and self._authority.exists()

    @property
    def gateway(self) -> str:
        """Fingerprint of the gateway's authority."""
        return fingerprint(self._authority.read_bytes())

    def save(self, key: bytes, certificate: str, authority: str | None = None) -> None:
        """Keep a key and what was signed for it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if authority is not None:
            write_atomically(self._authority, authority.encode(), mode=0o600)
        write_atomically(self._identity, key + certificate.encode(), mode=0o600)

    def should_renew(self, now: datetime.datetime | None = None) -> bool:
        """Whether most of the certificate's life is over."""
        made = x509.load_pem_x509_certificate(self._identity.read_bytes())
        now = now or datetime.datetime.now(datetime.UTC)
        life = made.not_valid_after_utc - made.not_valid_before_utc
        return made.not_valid_after_utc - now < life * _RENEW_SHARE

    def context(self) -> ssl.SSLContext:
        """Return the TLS context that proves the key and knows the gateway."""
        context = base_context()
        context.load_verify_locations(self._authority)
        context.load_cert_chain(self._identity)
        return context


def base_context() -> ssl.SSLContext:
    """Return a context that trusts nobody yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


def joining_context() -> ssl.SSLContext:
    """Return the context of a join, where the token's pin stands in for an authority."""
    context = base_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
