"""SAML responses, signed by a provider of our own, for the tests of the reader."""

from __future__ import annotations

import base64
import datetime
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from gateway.identity.saml.response import Expected

# Signing looks at the certificate's dates, so the clock of these tests is the real one, once.
NOW = float(int(datetime.datetime.now(datetime.UTC).timestamp()))
IDP = "https://idp.example.com/saml"
ACS = "https://postern.example.com/login/saml/corp/acs"
ENTITY = "https://postern.example.com"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
DS = "http://www.w3.org/2000/09/xmldsig#"
NS = {"saml": SAML, "samlp": SAMLP, "ds": DS}


def make_certificate(key: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    start = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start - datetime.timedelta(days=1))
        .not_valid_after(start + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )


KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = make_certificate(KEY)
OTHER_CERTIFICATE = make_certificate(OTHER_KEY)
EC_CERTIFICATE = make_certificate(EC_KEY)


def der(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def expected(**changes: Any) -> Expected:
    given: dict[str, Any] = {
        "issuer": IDP, "certificates": (der(CERTIFICATE),), "recipient": ACS,
        "audiences": (ENTITY,), "groups": "groups", "needs_both": True, "max_age_s": 86_400.0,
        "leeway_s": 30.0, "now": NOW,
    }  # fmt: skip
    return Expected(**(given | changes))


def stamp(offset_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(NOW + offset_s, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(kw_only=True)
class Response:
    """The parts of a response; a test changes the one it is about."""

    subject: str = "ann"
    name_format: str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
    groups: tuple[str, ...] = ("dba", "oncall")
    assertion_id: str = "_a1"
    response_id: str = "_r1"
    issuer: str = IDP
    response_issuer: str = IDP
    audience: str = ENTITY
    recipient: str = ACS
    destination: str = ACS
    request_id: str = "_q1"
    confirmed_request_id: str = "_q1"
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success"
    method: str = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    issued: str = field(default_factory=lambda: stamp(-5))
    not_before: str = field(default_factory=lambda: stamp(-60))
    not_after: str = field(default_factory=lambda: stamp(300))
    confirmed_until: str = field(default_factory=lambda: stamp(300))
    authenticated: str = field(default_factory=lambda: stamp(-60))
    session_until: str = field(default_factory=lambda: stamp(3600))
    version: str = "2.0"
    conditions: str = ""
    drops_transform: bool = False
    key: Any = KEY
    certificate: Any = CERTIFICATE
    method_of_signature: SignatureMethod = SignatureMethod.RSA_SHA256
    digest: DigestAlgorithm = DigestAlgorithm.SHA256
    canonical: CanonicalizationMethod = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0

    def assertion(self) -> Any:
        groups = "".join(f"<saml:AttributeValue>{one}</saml:AttributeValue>" for one in self.groups)
        return etree.fromstring(
            f'<saml:Assertion xmlns:saml="{SAML}" ID="{self.assertion_id}" Version="{self.version}"'
            f' IssueInstant="{self.issued}"><saml:Issuer>{self.issuer}</saml:Issuer>'
            f'<saml:Subject><saml:NameID Format="{self.name_format}">{self.subject}</saml:NameID>'
            f'<saml:SubjectConfirmation Method="{self.method}"><saml:SubjectConfirmationData'
            f' NotOnOrAfter="{self.confirmed_until}" Recipient="{self.recipient}"'
            f' InResponseTo="{self.confirmed_request_id}"/></saml:SubjectConfirmation>'
            f'</saml:Subject><saml:Conditions NotBefore="{self.not_before}"'
            f' NotOnOrAfter="{self.not_after}">{self.conditions}<saml:AudienceRestriction>'
            f"<saml:Audience>{self.audience}</saml:Audience></saml:AudienceRestriction>"
            f'</saml:Conditions><saml:AuthnStatement AuthnInstant="{self.authenticated}"'
            f' SessionNotOnOrAfter="{self.session_until}" SessionIndex="s-1"><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
            "</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
            f'<saml:AttributeStatement><saml:Attribute Name="groups">{groups}</saml:Attribute>'
            "</saml:AttributeStatement></saml:Assertion>"
        )

    def envelope(self, *inside: Any) -> Any:
        root = etree.fromstring(
            f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="{self.response_id}"'
            f' Version="{self.version}" IssueInstant="{self.issued}"'
            f' Destination="{self.destination}" InResponseTo="{self.request_id}">'
            f"<saml:Issuer>{self.response_issuer}</saml:Issuer><samlp:Status>"
            f'<samlp:StatusCode Value="{self.status}"/></samlp:Status></samlp:Response>'
        )
        root.extend(inside)
        return root

    def sign(self, element: Any) -> Any:
        # The placeholder puts the signature where the schema wants it: behind the issuer.
        place = etree.Element(f"{{{DS}}}Signature", nsmap={"ds": DS})
        place.set("Id", "placeholder")
        element.insert(1, place)
        signer = XMLSigner(
            signature_algorithm=self.method_of_signature,
            digest_algorithm=self.digest,
            c14n_algorithm=self.canonical,
        )
        return signer.sign(
            element, key=self.key, cert=[self.certificate], reference_uri=f"#{element.get('ID')}",
            id_attribute="ID",
            exclude_c14n_transform_element=self.drops_transform,
        )  # fmt: skip

    def build(self, *, signs: tuple[str, ...] = ("assertion", "response")) -> Any:
        assertion = self.assertion()
        if "assertion" in signs:
            assertion = self.sign(assertion)
        root = self.envelope(assertion)
        return self.sign(root) if "response" in signs else root

    def data(self, *, signs: tuple[str, ...] = ("assertion", "response")) -> bytes:
        return to_bytes(self.build(signs=signs))


def to_bytes(root: Any) -> bytes:
    data: bytes = etree.tostring(root)
    return data
