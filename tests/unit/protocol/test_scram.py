"""SCRAM-SHA-256 and md5 against published vectors, and challenges that must be refused."""

from __future__ import annotations

import base64

import pytest

from gateway.errors import UpstreamError
from gateway.protocol.scram import ScramClient, build_md5_response, normalise_password

# RFC 7677, section 3; PostgreSQL leaves the user name out, so only the shape is shared.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s={SALT},i=4096"


def client() -> ScramClient:
    return ScramClient(b"pencil", nonce=NONCE)


def test_exchange_is_deterministic_given_the_nonce() -> None:
    """Goal: the proof answers the challenge, and only the right signature ends the exchange."""
    scram = client()
    assert scram.first() == f"n,,n=,r={NONCE}".encode()
    final = scram.final(FIRST.encode())
    assert final.startswith(b"c=biws,r=" + NONCE.encode())
    assert b",p=" in final
    for bad in (b"v=" + base64.b64encode(bytes(32)), b"v=", b"", b"v=!!", b"x=1", b"\xff"):
        with pytest.raises(UpstreamError):
            scram.verify(bad)
    with pytest.raises(UpstreamError, match="refused"):
        scram.verify(b"e=invalid-proof")


def test_verify_before_final_is_refused() -> None:
    """Goal: an empty expected signature never matches."""
    with pytest.raises(UpstreamError):
        client().verify(b"v=" + base64.b64encode(b"x"))


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "r=",
        "r=x,s=y",
        f"r={NONCE},s={SALT},i=4096",  # nothing of the server's own
        f"r=X{NONCE}abc,s={SALT},i=4096",
        f"r={NONCE}abc,s=,i=4096",
        f"r={NONCE}abc,s=!!!!,i=4096",
        f"r={NONCE}abc,s={SALT},i=",
        f"r={NONCE}abc,s={SALT},i=0",
        f"r={NONCE}abc,s={SALT},i=1",
        f"r={NONCE}abc,s={SALT},i=4095",
        f"r={NONCE}abc,s={SALT},i=-4096",
        f"r={NONCE}abc,s={SALT},i=04096",
        f"r={NONCE}abc,s={SALT},i=1000001",
        f"r={NONCE}abc,s={SALT},i=99999999999999",
        f"r={NONCE}abc,s={SALT},i=٤٠٩٦",
        f"m=ext,r={NONCE}abc,s={SALT},i=4096",
        f"s={SALT},r={NONCE}abc,i=4096",
        f"r={NONCE}" + "x" * 20_000 + f",s={SALT},i=4096",
    ],
)
def test_hostile_challenges(challenge: str) -> None:
    """Goal: no iteration count or layout makes us compute for, or leak to, a stranger."""
    with pytest.raises(UpstreamError, match="SCRAM"):
        client().final(challenge.encode())


def test_long_nonce_is_no_problem() -> None:
    """Goal: CVE-2026-6665, a long server nonce is just long."""
    nonce = NONCE + "y" * 8_000
    assert nonce.encode() in client().final(f"r={nonce},s={SALT},i=4096".encode())


def test_md5() -> None:
    """Goal: the concatenation PostgreSQL documents."""
    response = build_md5_response("joe", b"secret", b"\x01\x02\x03\x04")
    assert response == b"md5850be429f1fe77df3f603ac424abb440"
    assert response != build_md5_response("joe", b"secret", b"\x01\x02\x03\x05")
    with pytest.raises(UpstreamError):
        build_md5_response("joe", b"secret", b"\x01")


@pytest.mark.parametrize(
    ("raw", "prepared"),
    [
        ("pencil", "pencil"),
        ("I\u00adX", "IX"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0031", "\u0627\u0031"),  # bidi violation: as it came
        ("\u0007é", "\u0007é"),  # prohibited: as it came
    ],
)
def test_saslprep(raw: str, prepared: str) -> None:
    """Goal: RFC 4013 examples, and PostgreSQL's fallback."""
    assert normalise_password(raw.encode()) == prepared.encode()
    assert normalise_password(b"\xff\xfe") == b"\xff\xfe"
