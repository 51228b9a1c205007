"""What we say to an identity provider: our metadata and the request that starts a login."""

from __future__ import annotations

import base64
import zlib
from typing import Final
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from gateway.clock import format_time

_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
_SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
_MD: Final = "urn:oasis:names:tc:SAML:2.0:metadata"


def build_metadata(entity: str, consumer: str) -> bytes:
    """Return our metadata for the provider."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<EntityDescriptor xmlns="{_MD}" entityID={quoteattr(entity)}>'
        f'<SPSSODescriptor protocolSupportEnumeration="{_SAMLP}" AuthnRequestsSigned="false"'
        ' WantAssertionsSigned="true">'
        f'<AssertionConsumerService Binding="{_POST}" Location={quoteattr(consumer)}'
        ' index="0" isDefault="true"/>'
        "</SPSSODescriptor></EntityDescriptor>\n"
    ).encode()


def build_request(
    *, request_id: str, entity: str, destination: str, consumer: str, now: float
) -> bytes:
    """Return an AuthnRequest."""
    return (
        f'<samlp:AuthnRequest xmlns:samlp="{_SAMLP}" xmlns:saml="{_SAML}"'
        f' ID={quoteattr(request_id)} Version="2.0" IssueInstant="{format_time(int(now * 1e6))}"'
        f' Destination={quoteattr(destination)} ProtocolBinding="{_POST}"'
        f" AssertionConsumerServiceURL={quoteattr(consumer)}>"
        f"<saml:Issuer>{escape(entity)}</saml:Issuer></samlp:AuthnRequest>"
    ).encode()


def redirect_url(destination: str, request: bytes) -> str:
    """Return where the browser goes with a request by the redirect binding (DEFLATE)."""
    packer = zlib.compressobj(wbits=-15)
    packed = base64.b64encode(packer.compress(request) + packer.flush()).decode()
    return f"{destination}{'&' if '?' in destination else '?'}{urlencode({'SAMLRequest': packed})}"
