"""Answer a server's password challenge: SCRAM-SHA-256 (RFC 5802, 7677) and md5.

Sans-I/O, client side only. The server proves that it knows the password as well: a
handshake whose signature was not verified must not be used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from typing import NoReturn

from gateway.errors import UpstreamError
from gateway.limits import SCRAM_ITERATIONS_MAX

MECHANISM = "SCRAM-SHA-256"

_NONCE_BYTES = 24
_MESSAGE_SIZE_MAX = 16_384
# RFC 7677 asks for at least 4096: fewer would hand a hostile server a cheap dictionary
# attack.
_ITERATIONS_MIN = 4_096


class ScramClient:
    """One SCRAM-SHA-256 exchange: `first`, then `final`, then `verify`, each once."""

    def __init__(self, password: bytes, *, nonce: str = "") -> None:
        self._password = normalise_password(password)
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(_NONCE_BYTES)).decode()
        self._server_signature = b""

    def first(self) -> bytes:
        """Return the client-first message. PostgreSQL takes the user from the startup packet."""
        return f"n,,{self._first_bare()}".encode()

    def _first_bare(self) -> str:
        return f"n=,r={self._nonce}"

    def final(self, server_first: bytes) -> bytes:
        """Return the client-final message for `server_first`.

        Costs up to `SCRAM_ITERATIONS_MAX` rounds of HMAC; raises UpstreamError when the challenge
        is malformed or not made for our nonce.
        """
        challenge = _ascii(server_first)
        nonce, salt, iterations = self._parse_challenge(challenge)
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self._first_bare()},{challenge},{without_proof}".encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def _parse_challenge(self, challenge: str) -> tuple[str, bytes, int]:
        # A mandatory extension (m=) comes first and lands in the nonce's place: refused.
        fields = challenge.split(",")
        if len(fields) < 3 or [field[:2] for field in fields[:3]] != ["r=", "s=", "i="]:
            _refuse("malformed challenge")
        nonce, salt, count = (field[2:] for field in fields[:3])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            _refuse("the challenge is not for our nonce")
        if not (count.isdecimal() and len(count) < 10 and count[0] != "0"):
            _refuse("malformed iteration count")
        iterations = int(count)
        if not _ITERATIONS_MIN <= iterations <= SCRAM_ITERATIONS_MAX:
            _refuse(f"iteration count outside {_ITERATIONS_MIN} to {SCRAM_ITERATIONS_MAX}")
        return nonce, _base64(salt), iterations

    def verify(self, server_final: bytes) -> None:
        """Check the server's signature; raises UpstreamError when it does not know the password."""
        message = _ascii(server_final)
        if message.startswith("e="):
            raise UpstreamError("SCRAM: the server refused the password", sqlstate="28P01")
        if not message.startswith("v="):
            _refuse("malformed final message")
        signature = _base64(message[2:].split(",")[0])
        expected = self._server_signature
        if not expected or not hmac.compare_digest(signature, expected):
            _refuse("the server's signature is wrong: it does not know the password")


def build_md5_response(user: str, password: bytes, salt: bytes) -> bytes:
    """Return the answer to AuthenticationMD5Password."""
    if len(salt) != 4:
        raise UpstreamError("the server sent a malformed md5 salt", sqlstate="08P01")
    inner = hashlib.md5(password + user.encode(), usedforsecurity=False).hexdigest()
    outer = hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
    return b"md5" + outer.encode()


def normalise_password(password: bytes) -> bytes:
    """Return `password` after SASLprep; as it came when SASLprep refuses it, as PostgreSQL does."""
    try:
        text = password.decode()
    except UnicodeDecodeError:
        return password
    if text.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    return normal.encode() if normal and _is_permitted(normal) else password


def _is_permitted(text: str) -> bool:
    prohibited = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(table(char) for char in text for table in prohibited):
        return False
    if not any(map(stringprep.in_table_d1, text)):
        return True
    return (
        not any(map(stringprep.in_table_d2, text))
        and stringprep.in_table_d1(text[0])
        and stringprep.in_table_d1(text[-1])
    )


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _ascii(message: bytes) -> str:
    if len(message) > _MESSAGE_SIZE_MAX:
        _refuse("message too long")
    try:
        return message.decode("ascii")
    except UnicodeDecodeError:
        _refuse("message is not ASCII")


def _base64(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    if not value:
        _refuse("malformed base64")
    return value


def _refuse(message: str) -> NoReturn:
    raise UpstreamError(f"SCRAM: {message}", sqlstate="08P01")
