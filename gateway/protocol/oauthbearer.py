"""SASL OAUTHBEARER, the server's side (RFC 7628), as messages in and out.

A client that holds no token asks with an empty one where to get it: it is told, in JSON, and
comes back on another connection. Everything else is one token, as in a password.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Final

from gateway.errors import ProtocolViolation
from gateway.protocol.messages import build_message

MECHANISM: Final = b"OAUTHBEARER"
_SASL, _SASL_CONTINUE = 10, 11
_SEPARATOR: Final = b"\x01"
# No channel binding and no other identity than the token's own.
_GS2_HEADERS: Final = (b"n,,", b"y,,")
_SCHEME: Final = re.compile(rb"bearer +", re.IGNORECASE)


def build_auth_sasl() -> bytes:
    """Return AuthenticationSASL offering this mechanism alone."""
    return build_message(b"R", struct.pack("!I", _SASL) + MECHANISM + b"\0\0")


def build_discovery(issuer: str, scope: str) -> bytes:
    """Return the AuthenticationSASLContinue that says where tokens come from."""
    told = {"status": "invalid_token", "scope": scope}
    if issuer:
        told["openid-configuration"] = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    return build_message(b"R", struct.pack("!I", _SASL_CONTINUE) + json.dumps(told).encode())


def parse_initial_response(payload: bytes) -> bytes:
    """Return the token of a SASLInitialResponse, b"" when the client asks where to get one.

    Raises ProtocolViolation for another mechanism and for anything out of form.
    """
    name, end, rest = payload.partition(b"\0")
    if not end or name != MECHANISM or len(rest) < 4:
        raise _violation()
    (size,) = struct.unpack("!i", rest[:4])
    response = rest[4:]
    if size != len(response):
        raise _violation()
    header, separator, pairs = response.partition(_SEPARATOR)
    # Every pair ends with a separator, and one more ends the list.
    if header not in _GS2_HEADERS or not separator or not pairs.endswith(_SEPARATOR * 2):
        raise _violation()
    values = [pair.partition(b"=") for pair in pairs[:-2].split(_SEPARATOR)]
    if [key for key, _, _ in values] != [b"auth"]:
        raise _violation()
    (value,) = (value for _, _, value in values)
    if not value:
        return b""
    scheme = _SCHEME.match(value)
    if scheme is None or b"\0" in value:
        raise _violation()
    return value[scheme.end() :]


def check_dummy_response(payload: bytes) -> None:
    """Check the answer to the discovery message, which says nothing; raises ProtocolViolation."""
    if payload != _SEPARATOR:
        raise _violation()


def _violation() -> ProtocolViolation:
    return ProtocolViolation("malformed OAUTHBEARER message", reason="oauthbearer_layout")
