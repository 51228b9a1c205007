"""SAML responses: what a good one says, and every published way to forge one."""

from __future__ import annotations

import asyncio
import base64
import copy
from dataclasses import asdict
from typing import Any

import pytest
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod

from gateway.errors import TokenInvalid
from gateway.identity.saml.apart import Reader
from gateway.identity.saml.metadata import read_metadata
from gateway.identity.saml.response import Assertion, Expected, read_response
from tests.unit.identity.assertions import (
    ACS,
    CERTIFICATE,
    DS,
    EC_CERTIFICATE,
    EC_KEY,
    ENTITY,
    IDP,
    NOW,
    NS,
    OTHER_CERTIFICATE,
    OTHER_KEY,
    SAML,
    Response,
    der,
    expected,
    stamp,
    to_bytes,
)
from tests.unit.identity.wrappings import WRAPPINGS

BOTH = ("assertion", "response")
ALONE = ("assertion",)


def reason_of(data: bytes, held: Expected | None = None) -> str:
    """Read a response that must be refused; the reason."""
    with pytest.raises(TokenInvalid) as caught:
        read_response(data, held or expected())
    assert caught.value.reason
    return caught.value.reason


def good(data: bytes, **changes: Any) -> Assertion:
    return read_response(data, expected(**changes))


def test_a_good_response_says_who_logged_in() -> None:
    found = good(Response().data())
    assert (found.subject, found.groups) == ("ann", ("dba", "oncall"))
    assert (found.id, found.request_id, found.session_index) == ("_a1", "_q1", "s-1")
    assert found.authenticated_at == NOW - 60
    assert (found.usable_until, found.ends_at) == (NOW + 300, NOW + 3600)
    assert found.key_id.startswith("x5t#S256:")


def test_other_keys_of_the_provider_are_good_too() -> None:
    """Goal: a certificate is rotated without a refused login: the metadata names both."""
    both = (der(OTHER_CERTIFICATE), der(CERTIFICATE))
    assert good(Response().data(), certificates=both).subject == "ann"
    curve = Response(
        key=EC_KEY, certificate=EC_CERTIFICATE, method_of_signature=SignatureMethod.ECDSA_SHA256
    )
    assert good(curve.data(), certificates=(der(EC_CERTIFICATE),)).subject == "ann"


def test_the_assertion_alone_is_enough_where_the_operator_says_so() -> None:
    data = Response().data(signs=ALONE)
    assert good(data, needs_both=False).subject == "ann"
    assert reason_of(data) == "the response is not signed"


@pytest.mark.parametrize("needs_both", [True, False])
@pytest.mark.parametrize("name", WRAPPINGS)
def test_signature_wrapping(name: str, needs_both: bool) -> None:
    """Goal: a signature that holds over something else makes nobody anybody."""
    root = Response().build(signs=BOTH if needs_both or name in {"xsw1", "xsw2"} else ALONE)
    data = to_bytes(WRAPPINGS[name](root))
    assert b">root<" in data
    reason_of(data, expected(needs_both=needs_both))


def test_an_assertion_that_is_not_signed() -> None:
    """Goal: neither half alone. In both settings an assertion without a signature is none."""
    for needs_both in (True, False):
        for signs in ((), ("response",)):
            data = Response().data(signs=signs)
            reason_of(data, expected(needs_both=needs_both))


def test_signatures_of_somebody_else() -> None:
    forged = Response(key=OTHER_KEY, certificate=OTHER_CERTIFICATE)
    assert "does not hold" in reason_of(forged.data())
    # The other's key under the provider's certificate, and the reverse.
    assert "does not hold" in reason_of(Response(key=OTHER_KEY).data())


@pytest.mark.parametrize(
    "changes",
    [
        {"method_of_signature": SignatureMethod.RSA_SHA1},
        {"digest": DigestAlgorithm.SHA1},
        {"canonical": CanonicalizationMethod.CANONICAL_XML_1_0},
        {"canonical": CanonicalizationMethod.CANONICAL_XML_1_1},
        {"canonical": CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0_WITH_COMMENTS},
    ],
    ids=str,
)
def test_weaker_algorithms(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from signxml.signer import XMLSigner

    monkeypatch.setattr(XMLSigner, "check_deprecated_methods", lambda self: None, raising=False)
    reason_of(Response(**changes).data())


def test_a_signature_of_another_form() -> None:
    """Goal: transforms are the profile's; no signature stands where none belongs."""
    assert "transforms" in reason_of(Response(drops_transform=True).data())
    root = Response().build(signs=ALONE)
    signature = copy.deepcopy(root.find("saml:Assertion/ds:Signature", NS))
    signature.attrib.pop("Id", None)
    etree.SubElement(root, f"{{{NS['samlp']}}}Extensions").append(signature)
    assert "where none belongs" in reason_of(to_bytes(root), expected(needs_both=False))


def test_an_hmac_with_the_public_certificate_as_its_key() -> None:
    """Goal: algorithm confusion. Method: change the method's name, keep the rest."""
    name = SignatureMethod.RSA_SHA256.value.encode()
    data = Response().data()
    for other in (SignatureMethod.HMAC_SHA256, SignatureMethod.DSA_SHA256):
        reason_of(data.replace(name, other.value.encode()))
    reason_of(data.replace(name, b"none"))


CASES: dict[str, dict[str, Any]] = {
    "issuer": {"issuer": "https://evil.example"},
    "issuer of the response": {"response_issuer": "https://evil.example"},
    "audience": {"audience": "https://other.example"},
    "no audience": {"audience": ""},
    "recipient": {"recipient": ACS + "/x"},
    "destination": {"destination": ACS.replace("corp", "other")},
    "no destination": {"destination": ""},
    "another request": {"confirmed_request_id": "_q2"},
    "no request": {"request_id": "", "confirmed_request_id": ""},
    "status": {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"},
    "holder of key": {"method": "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"},
    "sender vouches": {"method": "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"},
    "expired": {"not_after": stamp(0)},
    "confirmation expired": {"confirmed_until": stamp(0)},
    "expired by a second": {"not_after": stamp(-1)},
    "not yet": {"not_before": stamp(31)},
    "issued tomorrow": {"issued": stamp(86_400)},
    "authenticated tomorrow": {"authenticated": stamp(86_400)},
    "authenticated long ago": {"authenticated": stamp(-86_401)},
    "session over": {"session_until": stamp(-1)},
    "time without a zone": {"not_after": stamp(300).rstrip("Z")},
    "time of elsewhere": {"not_after": stamp(300).replace("Z", "+12:00")},
    "no time": {"not_after": "soon"},
    "no date": {"not_after": "2030-13-45T00:00:00Z"},
    "version 1": {"version": "1.1"},
    "transient name": {"name_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"},
    "no name": {"subject": ""},
    "name with an element": {"subject": "ann<saml:x/>"},
    "name that turns around": {"subject": "ann\u202etoor"},
    "long name": {"subject": "a" * 256},
    "group with a newline": {"groups": ("a&#10;b",)},
    "empty group": {"groups": ("",)},
    "too many groups": {"groups": tuple(f"g{n}" for n in range(501))},
    "condition": {"conditions": '<saml:Condition xmlns:x="urn:u" x:t="v"/>'},
    "proxies": {"conditions": '<saml:ProxyRestriction Count="1"/>'},
    "two audiences to satisfy": {
        "conditions": "<saml:AudienceRestriction><saml:Audience>https://other.example"
        "</saml:Audience></saml:AudienceRestriction>"
    },
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_provider_signed_for_somebody_else_or_another_time(case: str) -> None:
    """Goal: well signed is not enough. Method: sign each wrong statement with the right key."""
    reason_of(Response(**CASES[case]).data())


def test_once_is_allowed_as_a_condition() -> None:
    assert good(Response(conditions="<saml:OneTimeUse/>").data()).subject == "ann"


@pytest.mark.parametrize("where", ["NameID", "Audience", "AttributeValue", "Issuer"])
def test_a_comment_inside_a_text(where: str) -> None:
    """Goal: `root<!-- -->.evil.example` is not `root` (CVE-2017-11427 and its family)."""
    response = Response(subject="root.evil", groups=("admin.evil",))
    data = response.data()
    start = data.index(b">", data.rindex(f"<saml:{where}".encode())) + 1
    commented = data[: start + 4] + b"<!-- -->" + data[start + 4 :]
    assert "comment" in reason_of(commented)
    assert "comment" in reason_of(data[: start + 4] + b"<?x y?>" + data[start + 4 :])


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE Response>",
        '<!DOCTYPE r [<!ENTITY e "root">]>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd">',
        '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        "<!DOCTYPE r [<!ATTLIST saml:Assertion Evil ID #IMPLIED>]>",
    ],
)
def test_a_document_type(prolog: str) -> None:
    assert "DTD" in reason_of(prolog.encode() + Response().data())


def test_names_of_other_namespaces() -> None:
    """Goal: an element is what its namespace says, whatever its prefix."""
    data = Response().data()
    for old, new in (
        (SAML, SAML.replace("2.0", "1.0")),
        (NS["samlp"], NS["samlp"] + "x"),
        (DS, DS + "x"),
    ):
        reason_of(data.replace(old.encode(), new.encode()))
    # The prefix of the protocol bound to something else inside the signature's reach.
    root = Response().build()
    evil = etree.fromstring('<saml:NameID xmlns:saml="urn:evil">root</saml:NameID>')
    root.find("saml:Assertion/saml:Subject", NS).insert(0, evil)
    reason_of(to_bytes(root))


def test_a_changed_byte_is_seen() -> None:
    data = Response().data()
    for old, new in (
        (b">ann<", b">eve<"),
        (b">dba<", b">adm<"),
        (ACS.encode(), ACS.encode() + b"2"),
    ):
        assert old in data
        reason_of(data.replace(old, new))


def test_two_of_anything() -> None:
    def doubled(path: str) -> bytes:
        root = Response().build()
        element = root.find(path, NS)
        element.addnext(copy.deepcopy(element))
        return to_bytes(root)

    for path in ("saml:Assertion", "ds:Signature", "saml:Assertion/ds:Signature", "samlp:Status",
                 "saml:Issuer", "saml:Assertion/saml:Subject"):  # fmt: skip
        reason_of(doubled(path))


def test_an_encrypted_assertion_is_said_to_be_unsupported() -> None:
    root = Response().envelope(etree.Element(f"{{{SAML}}}EncryptedAssertion"))
    assert "not supported" in reason_of(to_bytes(root))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"<", b"\xff\xfe<\x00r\x00/\x00>\x00", b"<r/>", b"<r>" * 5_000,
        b"<r>" * 100 + b"</r>" * 100, b"<r>" + b"<a/>" * 6_000 + b"</r>", b"<r>\xff</r>",
        b'<?xml version="1.0" encoding="UTF-7"?><r/>', b"x" * (300 << 10),
        b'<r ID="a"><b ID="a"/></r>', b'<r Id="a"><b ID="a"/></r>',
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_what_is_no_response_at_all(data: bytes) -> None:
    reason_of(data)


METADATA = (
    '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="{ds}"'
    ' entityID="{entity}"><md:IDPSSODescriptor'
    ' protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><md:KeyDescriptor{use}>'
    "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate>"
    "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService"
    ' Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-{binding}" Location="{place}"/>'
    "</md:IDPSSODescriptor></md:EntityDescriptor>"
)


def metadata(**changes: str) -> bytes:
    given = {
        "ds": DS, "entity": IDP, "use": ' use="signing"', "certificate": der(CERTIFICATE),
        "binding": "Redirect", "place": "https://idp.example.com/sso",
    }  # fmt: skip
    return METADATA.format(**(given | changes)).encode()


def test_metadata_of_a_provider() -> None:
    found = read_metadata(metadata(), IDP)
    assert found["certificates"] == [der(CERTIFICATE)]
    assert (found["redirect"], found["post"]) == ("https://idp.example.com/sso", "")
    assert read_metadata(metadata(binding="POST", use=""), IDP)["post"]


@pytest.mark.parametrize(
    "changes",
    [
        {"entity": "https://other.example"},
        {"use": ' use="encryption"'},
        {"certificate": "AAAA"},
        {"binding": "Artifact"},
        {"place": "http://idp.example.com/sso"},
        {"place": "javascript:alert(1)"},
    ],
)
def test_metadata_that_cannot_be_used(changes: dict[str, str]) -> None:
    with pytest.raises(TokenInvalid):
        read_metadata(metadata(**changes), IDP)


def test_reading_happens_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: same answers through the process; a document that kills it is refused, no more."""
    held = asdict(expected())

    async def body() -> None:
        reader = Reader()
        found = await reader.read_response(Response().data(), held)
        assert (found["subject"], found["groups"]) == ("ann", ["dba", "oncall"])
        with pytest.raises(TokenInvalid) as caught:
            await reader.read_response(Response(audience="x").data(), held)
        assert caught.value.reason == "wrong audience"
        assert (await reader.read_metadata(metadata(), IDP))["redirect"]
        with pytest.raises(TokenInvalid) as caught:
            await reader.read_response(b"", {"not": "what is expected"})
        assert "status 1" in caught.value.reason

    asyncio.run(body())


def test_entity_and_address_are_ours() -> None:
    from gateway.identity.saml.request import build_metadata, build_request

    root = etree.fromstring(build_metadata(ENTITY + '"<&', ACS))
    assert root.get("entityID") == ENTITY + '"<&'
    request = build_request(
        request_id="_x", entity=ENTITY, destination="https://idp/sso?a=1&b=2", consumer=ACS, now=NOW
    )
    assert etree.fromstring(request).get("Destination") == "https://idp/sso?a=1&b=2"
    assert base64.b64encode(request)
