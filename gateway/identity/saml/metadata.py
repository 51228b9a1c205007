"""An identity provider's metadata, from a file that the operator vouches for."""

from __future__ import annotations

from typing import Any, Final

from gateway.identity.claims import refuse
from gateway.identity.saml.signature import load_certificates
from gateway.identity.saml.xml import DS, MD, Element, only_child, read_xml

_PROTOCOL: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_BYTES_MAX: Final = 4 << 20


def read_metadata(data: bytes, entity: str) -> dict[str, Any]:
    """Return `certificates` and the addresses `redirect` and `post`, "" for none.

    Raises TokenInvalid with what is wrong.
    """
    if len(data) > _BYTES_MAX:
        refuse(f"over {_BYTES_MAX} bytes")
    root = read_xml(data)
    found = [one for one in root.iter(f"{MD}EntityDescriptor") if one.get("entityID") == entity]
    if len(found) != 1:
        refuse(f"{len(found)} entities {entity[:100]!r}")
    role = only_child(found[0], f"{MD}IDPSSODescriptor")
    if _PROTOCOL not in role.get("protocolSupportEnumeration", "").split():
        refuse("an identity provider that does not speak SAML 2.0")
    certificates = [
        "".join(str(one.text or "").split())
        for key in role.findall(f"{MD}KeyDescriptor")
        if key.get("use", "signing") == "signing"
        for one in key.iter(f"{DS}X509Certificate")
    ]
    load_certificates(certificates)
    places = {"redirect": _place(role, REDIRECT), "post": _place(role, POST)}
    if not any(places.values()):
        refuse("no SingleSignOnService over https by redirect or POST")
    return {"certificates": certificates} | places


def _place(role: Element, binding: str) -> str:
    for service in role.findall(f"{MD}SingleSignOnService"):
        location = str(service.get("Location", ""))
        local = location.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
        if service.get("Binding") == binding and (location.startswith("https://") or local):
            return location
    return ""
