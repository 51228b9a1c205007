"""The gateway's own certificate authority: it knows its connectors by nothing else.

Two purposes that OpenSSL keeps apart: the gateway's certificate is for servers only, a
connector's for clients only, so that no connector can stand in for the gateway.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import GatewayError
from gateway.identity.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

GATEWAY_NAME: Final = "postern-gateway"
ALPN: Final = "postern-connector"
_AUTHORITY_DAYS = 3_650
_GATEWAY_DAYS = 365
_GATEWAY_LEAST_DAYS = 60  # a start renews a certificate that is good for less
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_REQUEST_BYTES_MAX = 4_096


class RequestRefused(GatewayError):
    """A certificate request that is not one of a connector."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A connector's certificate."""

    serial: str  # as `ssl` prints it: upper-case hexadecimal
    certificate: bytes  # PEM
    not_after: float


class Authority:
    """Certificates of one gateway, kept in one directory."""

    def __init__(self, directory: Path) -> None:
        self.certificate_file = directory / "authority.pem"
        self._key_file = directory / "authority.key"
        self._gateway_file = directory / "gateway.pem"

    def prepare(self) -> None:
        """Make what is missing or about to expire. Call from one process only."""
        self.certificate_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.certificate_file.exists():
            self._make_authority()
        if not self._gateway_file.exists() or self._days_left() < _GATEWAY_LEAST_DAYS:
            self._make_gateway()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate: what connectors call this gateway by."""
        return fingerprint(self.certificate_file.read_bytes())

    @property
    def gateway_pin(self) -> str:
        """SHA-256 of the gateway's own certificate, which a join token carries."""
        return fingerprint(self._gateway_file.read_bytes())

    def server_context(self, *, require: bool) -> ssl.SSLContext:
        """Return the context for connectors; without `require`, one that joins has no key yet."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        context.load_cert_chain(self._gateway_file)
        context.load_verify_locations(self.certificate_file)
        context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_OPTIONAL
        # Every handshake proves the key anew; nothing of an earlier one is worth keeping.
        context.num_tickets = 0
        return context

    def issue(self, request: bytes, member: str, lifetime_s: float) -> Issued:
        """Sign the key of a PEM request as `member`; raises RequestRefused.

        The request's own signature proves that whoever sent it holds the key. Of what it says
        nothing else is used.
        """
        if len(request) > _REQUEST_BYTES_MAX:
            raise RequestRefused("the certificate request is too long")
        try:
            parsed = x509.load_pem_x509_csr(request)
            key = parsed.public_key()
            is_sound = parsed.is_signature_valid
        except (ValueError, UnsupportedAlgorithm) as error:
            raise RequestRefused("the certificate request cannot be read") from error
        if not isinstance(key, Ed25519PublicKey) or not is_sound:
            raise RequestRefused("the certificate request does not prove an Ed25519 key")
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(seconds=lifetime_s)
        made = (
            self._builder(member, key, ExtendedKeyUsageOID.CLIENT_AUTH)
            .not_valid_after(until)
            .sign(self._key(), None)
        )
        pem = made.public_bytes(serialization.Encoding.PEM)
        return Issued(serial_text(made.serial_number), pem, until.timestamp())

    def _make_authority(self) -> None:
        key = Ed25519PrivateKey.generate()
        name = _name("postern connectors")
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + datetime.timedelta(days=_AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, None)
        )
        write_atomically(self._key_file, _pem_of(key), mode=0o600)
        pem = made.public_bytes(serialization.Encoding.PEM)
        write_atomically(self.certificate_file, pem, mode=0o600)

    def _make_gateway(self) -> None:
        key = Ed25519PrivateKey.generate()
        names = [x509.DNSName(GATEWAY_NAME)]
        now = datetime.datetime.now(datetime.UTC)
        made = (
            self._builder(GATEWAY_NAME, key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .not_valid_after(now + datetime.timedelta(days=_GATEWAY_DAYS))
            .sign(self._key(), None)
        )
        # Key and certificate in one file: a reader never has the one without the other.
        pem = made.public_bytes(serialization.Encoding.PEM)
        write_atomically(self._gateway_file, _pem_of(key) + pem, mode=0o600)

    def _builder(
        self, subject: str, key: Ed25519PublicKey, purpose: x509.ObjectIdentifier
    ) -> x509.CertificateBuilder:
        authority = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        now = datetime.datetime.now(datetime.UTC)
        public = self._key().public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(authority.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
        )

    def _key(self) -> Ed25519PrivateKey:
        key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise RequestRefused("the authority's key is not an Ed25519 key")
        return key

    def _days_left(self) -> int:
        made = x509.load_pem_x509_certificate(self._gateway_file.read_bytes())
        return (made.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


def fingerprint(pem: bytes) -> str:
    """Return the SHA-256 of the certificate in `pem`, in hexadecimal."""
    made = x509.load_pem_x509_certificate(pem)
    return hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()


def make_request(member: str) -> tuple[bytes, bytes]:
    """Return a new private key and the certificate request for it, both in PEM."""
    key = Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(member)).sign(key, None)
    return _pem_of(key), request.public_bytes(serialization.Encoding.PEM)


def serial_text(serial: int) -> str:
    """Return a serial number as `ssl` prints it."""
    text = f"{serial:X}"
    return "0" * (len(text) % 2) + text


def peer_of(ssl_object: ssl.SSLObject) -> tuple[str, str] | None:
    """Return (member, serial) of the peer's verified certificate, None without one."""
    certificate = ssl_object.getpeercert()
    if not certificate:
        return None
    # typeshed leaves the shape of the subject open.
    subject = dict(pair[0] for pair in certificate.get("subject", ()))  # type: ignore[misc]
    return str(subject.get("commonName", "")), str(certificate.get("serialNumber", ""))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem_of(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
