"""Read XML that came from outside: bounded, without DTD, comments or anything that is fetched.

Comments and processing instructions are refused and not skipped: whether `a<!-- -->b` is one
text or two is where readers of signed XML have differed before.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from gateway.identity.claims import refuse

SAML: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP: Final = "{urn:oasis:names:tc:SAML:2.0:protocol}"
MD: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_DEPTH_MAX: Final = 40
_ELEMENTS_MAX: Final = 5_000
_ID_NAMES: Final = ("ID", "Id", "id", "{http://www.w3.org/XML/1998/namespace}id")

Element = Any  # lxml's classes are not typed


def parser() -> Any:
    """Return a reader that fetches nothing and resolves nothing."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False, remove_comments=False, remove_pis=False, remove_blank_text=False,
    )  # fmt: skip


def read_xml(data: bytes) -> Element:
    """Return the root element; raises TokenInvalid for what is no plain XML document."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        refuse("not UTF-8")
    # Before the parser sees it: nothing of a document type is anybody's identity.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        refuse("a document type (DTD)")
    try:
        root = etree.fromstring(data, parser=parser())
    except etree.XMLSyntaxError as error:
        refuse(f"not XML: {error.code}")
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.externalDTD is not None or info.doctype:
        refuse("a document type (DTD)")
    if info.encoding is not None and info.encoding.upper() not in {"UTF-8", "ASCII", "US-ASCII"}:
        refuse(f"encoding {info.encoding[:20]}")
    _check_nodes(root)
    return root


def _check_nodes(root: Element) -> None:
    seen: set[str] = set()
    count = 0
    if root.getprevious() is not None or root.getnext() is not None:
        refuse("something beside the root element")
    for node in root.iter():
        if not isinstance(node.tag, str):
            refuse("a comment, entity or processing instruction")
        count += 1
        if count > _ELEMENTS_MAX or sum(1 for _ in node.iterancestors()) > _DEPTH_MAX:
            refuse("too many elements or levels")
        for name in _ID_NAMES:
            given = node.get(name)
            if given is None:
                continue
            # Two elements of one id: the signature is over one and the reader may take the other.
            if given in seen or not given:
                refuse("an id that occurs twice")
            seen.add(given)


def only_child(parent: Element, tag: str) -> Element:
    """Return the one child `tag`; raises TokenInvalid for none and for several."""
    found = parent.findall(tag)
    if len(found) != 1:
        refuse(f"{len(found)} elements {tag.rpartition('}')[2]} where one belongs")
    return found[0]


def text_of(element: Element) -> str:
    """Return an element's text; raises TokenInvalid for one that holds other elements."""
    if len(element):
        refuse(f"{element.tag.rpartition('}')[2]} holds other elements")
    return str(element.text or "").strip()
