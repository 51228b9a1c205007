"""The eight published signature wrappings (Somorovsky et al., 2012, as SAML Raider numbers them).

Each takes a response that was signed for somebody and returns one that says it is about `EVIL`,
with every signature still holding over what it was made for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lxml import etree

from tests.unit.identity.assertions import DS, NS, SAMLP

EVIL = "root"


def _forge(assertion: Any) -> Any:
    """A copy that names somebody else, without a signature of its own."""
    evil = copy.deepcopy(assertion)
    for signature in evil.findall("ds:Signature", NS):
        evil.remove(signature)
    evil.find("saml:Subject/saml:NameID", NS).text = EVIL
    evil.set("ID", "_evil")
    return evil


def _forge_response(root: Any) -> Any:
    evil = copy.deepcopy(root)
    evil.set("ID", "_evil_response")
    for signature in evil.findall("ds:Signature", NS):
        evil.remove(signature)
    assertion = evil.find("saml:Assertion", NS)
    evil.replace(assertion, _forge(assertion))
    return evil


def _taken(parent: Any, tag: str) -> Any:
    element = parent.find(tag, NS)
    parent.remove(element)
    return element


def xsw1(root: Any) -> Any:
    """A forged response; the signature in it holds the original response."""
    evil = _forge_response(root)
    original = copy.deepcopy(root)
    signature = _taken(original, "ds:Signature")
    signature.append(original)
    evil.insert(1, signature)
    return evil


def xsw2(root: Any) -> Any:
    """A forged response; the original stands before its signature, detached."""
    evil = _forge_response(root)
    original = copy.deepcopy(root)
    signature = _taken(original, "ds:Signature")
    evil.insert(1, original)
    evil.insert(2, signature)
    return evil


def xsw3(root: Any) -> Any:
    """A forged assertion before the original."""
    original = root.find("saml:Assertion", NS)
    original.addprevious(_forge(original))
    return root


def xsw4(root: Any) -> Any:
    """A forged assertion around the original."""
    original = root.find("saml:Assertion", NS)
    evil = _forge(original)
    root.replace(original, evil)
    evil.append(original)
    return root


def xsw5(root: Any) -> Any:
    """A forged assertion with the original's signature; the original follows without it."""
    original = root.find("saml:Assertion", NS)
    evil = _forge(original)
    evil.insert(1, _taken(original, "ds:Signature"))
    original.addprevious(evil)
    return root


def xsw6(root: Any) -> Any:
    """A forged assertion whose signature holds the original."""
    original = root.find("saml:Assertion", NS)
    evil = _forge(original)
    signature = _taken(original, "ds:Signature")
    root.replace(original, evil)
    evil.insert(1, signature)
    signature.append(original)
    return root


def xsw7(root: Any) -> Any:
    """A forged assertion inside `Extensions`, where the schema allows anything."""
    original = root.find("saml:Assertion", NS)
    extensions = etree.SubElement(root, f"{{{SAMLP}}}Extensions")
    evil = _forge(original)
    evil.set("ID", original.get("ID"))
    extensions.append(evil)
    root.insert(1, extensions)
    return root


def xsw8(root: Any) -> Any:
    """A forged assertion whose signature holds the original in an `Object`."""
    original = root.find("saml:Assertion", NS)
    evil = _forge(original)
    evil.set("ID", original.get("ID"))
    signature = _taken(original, "ds:Signature")
    root.replace(original, evil)
    evil.insert(1, signature)
    holder = etree.SubElement(signature, f"{{{DS}}}Object")
    holder.append(original)
    return root


WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f for f in (xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8)
}
