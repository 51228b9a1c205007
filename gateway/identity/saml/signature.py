"""Which part of a document is signed by the identity provider: that part and nothing else.

What is returned is parsed anew from the very bytes that the signature was computed over. Nothing
is ever looked up in the document that was received, so a signed element that was moved, copied or
wrapped has no effect on what is believed.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from gateway.errors import TokenInvalid
from gateway.identity.claims import refuse
from gateway.identity.saml.xml import DS, SAML, Element, only_child, parser

if TYPE_CHECKING:
    from collections.abc import Sequence

_METHODS: Final = frozenset(
    {
        SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512,
        SignatureMethod.ECDSA_SHA256, SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512,
    }
)  # fmt: skip
_DIGESTS: Final = frozenset(
    {DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512}
)
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_TRANSFORMS: Final = [
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    _EXCLUSIVE,
]
_RSA_BITS_MIN: Final = 2_048


def load_certificates(texts: Sequence[str]) -> list[x509.Certificate]:
    """Return the certificates whose keys are strong enough; raises TokenInvalid without any."""
    found = []
    for text in texts:
        try:
            certificate = x509.load_der_x509_certificate(base64.b64decode(text))
            key = certificate.public_key()
        except ValueError:
            continue
        is_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS_MIN
        if is_rsa or isinstance(key, ec.EllipticCurvePublicKey):
            found.append(certificate)
    if not found:
        refuse("no usable certificate of the identity provider")
    return found


def key_id_of(certificate: x509.Certificate) -> str:
    """Return what a certificate's key is known by in revocations."""
    der = certificate.public_bytes(Encoding.DER)
    return f"x5t#S256:{hashlib.sha256(der).hexdigest()}"


def read_signed(
    root: Element, element: Element, certificates: Sequence[x509.Certificate]
) -> tuple[Element, str]:
    """Return the signed form of `element`, which is `root` or its assertion, and the key's id.

    Raises TokenInvalid unless its own enveloped signature covers all of it.
    """
    signature = only_child(element, f"{DS}Signature")
    _check_shape(signature, element)
    location = "./" if element is root else f"./{SAML}Assertion/"
    config = SignatureConfiguration(
        location=location, expect_references=1, signature_methods=_METHODS,
        digest_algorithms=_DIGESTS, ignore_ambiguous_key_info=False,
    )  # fmt: skip
    for certificate in certificates:
        try:
            result = XMLVerifier().verify(
                root, x509_cert=certificate, expect_config=config, parser=parser(),
                id_attribute="ID",
            )  # fmt: skip
        except (SignXMLException, etree.LxmlError, ValueError, KeyError, TypeError):
            continue
        signed = None if isinstance(result, list) else result.signed_xml
        if signed is None or signed.tag != element.tag or signed.get("ID") != element.get("ID"):
            refuse("the signature is over something else")
        return signed, key_id_of(certificate)
    raise TokenInvalid(reason=f"the signature of {element.tag.rpartition('}')[2]} does not hold")


def _check_shape(signature: Element, element: Element) -> None:
    """Refuse signatures whose meaning would need thought: only the one form of the profile is."""
    if {child.tag for child in signature} - {
        f"{DS}SignedInfo", f"{DS}SignatureValue", f"{DS}KeyInfo",
    }:  # fmt: skip
        refuse("a signature with more than it needs")
    info = only_child(signature, f"{DS}SignedInfo")
    if only_child(info, f"{DS}CanonicalizationMethod").get("Algorithm") != _EXCLUSIVE:
        refuse("another canonical form than exclusive C14N")
    reference = only_child(info, f"{DS}Reference")
    identity = element.get("ID")
    if not identity or reference.get("URI") != f"#{identity}":
        refuse("a signature that is not over its parent")
    transforms = only_child(reference, f"{DS}Transforms").findall(f"{DS}Transform")
    if [one.get("Algorithm") for one in transforms] != _TRANSFORMS:
        refuse("other transforms than those of the profile")
