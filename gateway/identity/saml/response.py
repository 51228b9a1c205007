"""Check a SAML response and say who logged in (SAML 2.0 core, web browser SSO profile).

Identity, times, audience and recipient are read from the signed assertion alone; the response
around it must agree with it.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.identity.claims import refuse, safe_text
from gateway.identity.saml.signature import load_certificates, read_signed
from gateway.identity.saml.xml import DS, SAML, SAMLP, Element, only_child, read_xml, text_of
from gateway.limits import GROUPS_PER_TOKEN_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_ENTITY: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
_CONDITIONS: Final = frozenset({f"{SAML}AudienceRestriction", f"{SAML}OneTimeUse"})
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z", re.ASCII)
_BYTES_MAX: Final = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a response is held against; all of it is ours or the operator's."""

    issuer: str  # the identity provider's entity id
    certificates: tuple[str, ...]  # base64 of DER, from its metadata
    recipient: str  # our assertion consumer service
    audiences: tuple[str, ...]
    groups: str  # name of the attribute
    needs_both: bool  # response and assertion signed, not only the assertion
    max_age_s: float
    leeway_s: float
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """Who logged in, as the identity provider signed it."""

    id: str
    request_id: str
    subject: str
    groups: tuple[str, ...]
    authenticated_at: float
    issued_at: float
    usable_until: float  # afterwards the assertion opens nothing, used or not
    ends_at: float | None  # the provider's word on how long the session may be
    session_index: str | None
    key_id: str

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict."""
        return asdict(self)


def read_response(data: bytes, expected: Expected) -> Assertion:
    """Return the assertion of a response; raises TokenInvalid with the reason for the audit."""
    if len(data) > _BYTES_MAX:
        refuse(f"over {_BYTES_MAX} bytes")
    root = read_xml(data)
    if root.tag != f"{SAMLP}Response":
        refuse("not a SAML 2.0 response")
    if next(root.iter(f"{SAML}EncryptedAssertion"), None) is not None:
        refuse("an encrypted assertion, which is not supported")
    # Anywhere: a second one is what an attack needs and no login does.
    assertions = list(root.iter(f"{SAML}Assertion"))
    if len(assertions) != 1 or assertions[0].getparent() is not root:
        refuse(f"{len(assertions)} assertions where one belongs")
    certificates = load_certificates(expected.certificates)
    _check_signatures(root, assertions[0])
    response = root
    if root.find(f"{DS}Signature") is not None:
        response, _ = read_signed(root, root, certificates)
    elif expected.needs_both:
        refuse("the response is not signed")
    request_id = _check_response(response, expected)
    signed, key_id = read_signed(root, assertions[0], certificates)
    return _read_assertion(signed, request_id, expected, key_id)


def _check_signatures(root: Element, assertion: Element) -> None:
    for signature in root.iter(f"{DS}Signature"):
        if signature.getparent() not in {root, assertion}:
            refuse("a signature where none belongs")


def _check_response(response: Element, expected: Expected) -> str:
    """Check the envelope; returns the id of the request it answers."""
    if response.get("Version") != "2.0":
        refuse("not version 2.0")
    if response.get("Destination") != expected.recipient:
        refuse("wrong destination")
    issuer = response.find(f"{SAML}Issuer")
    if issuer is not None:
        _check_issuer(issuer, expected)
    status = only_child(only_child(response, f"{SAMLP}Status"), f"{SAMLP}StatusCode")
    if status.get("Value") != _SUCCESS:
        refuse(f"status {str(status.get('Value'))[-60:]!r}")
    _check_issued(_time(response, "IssueInstant"), expected)
    request_id = response.get("InResponseTo")
    if not request_id:
        refuse("an answer that nobody asked for (no InResponseTo)")
    return str(request_id)


def _read_assertion(signed: Element, request_id: str, expected: Expected, key_id: str) -> Assertion:
    if signed.get("Version") != "2.0":
        refuse("not version 2.0")
    _check_issuer(only_child(signed, f"{SAML}Issuer"), expected)
    issued_at = _time(signed, "IssueInstant")
    _check_issued(issued_at, expected)
    conditions_until = _check_conditions(signed, expected)
    subject = only_child(signed, f"{SAML}Subject")
    name = only_child(subject, f"{SAML}NameID")
    if name.get("Format") == _TRANSIENT:
        refuse("a transient NameID names nobody")
    confirmed_until = _check_confirmation(subject, request_id, expected)
    statement = only_child(signed, f"{SAML}AuthnStatement")
    authenticated_at = _time(statement, "AuthnInstant")
    if authenticated_at > expected.now + expected.leeway_s:
        refuse("authenticated in the future")
    if expected.now - authenticated_at > expected.max_age_s:
        refuse("authenticated too long ago (max_age)")
    ends_at = None
    if statement.get("SessionNotOnOrAfter") is not None:
        ends_at = _time(statement, "SessionNotOnOrAfter")
        if ends_at <= expected.now:
            refuse("the provider's session has ended")
    index = statement.get("SessionIndex")
    return Assertion(
        id=safe_text("ID", signed.get("ID")),
        request_id=request_id,
        subject=safe_text("NameID", text_of(name)),
        groups=_read_groups(signed, expected.groups),
        authenticated_at=authenticated_at,
        issued_at=issued_at,
        usable_until=min(conditions_until, confirmed_until),
        ends_at=ends_at,
        session_index=None if index is None else safe_text("SessionIndex", index),
        key_id=key_id,
    )


def _check_issuer(issuer: Element, expected: Expected) -> None:
    if text_of(issuer) != expected.issuer or issuer.get("Format", _ENTITY) != _ENTITY:
        refuse("wrong issuer")


def _check_issued(issued_at: float, expected: Expected) -> None:
    if issued_at > expected.now + expected.leeway_s:
        refuse("issued in the future")


def _check_conditions(signed: Element, expected: Expected) -> float:
    conditions = only_child(signed, f"{SAML}Conditions")
    if {child.tag for child in conditions} - _CONDITIONS:
        refuse("a condition that nobody here can check")
    until = _check_window(conditions, expected)
    restrictions = conditions.findall(f"{SAML}AudienceRestriction")
    if not restrictions:
        refuse("no audience")
    for restriction in restrictions:
        named = {text_of(one) for one in restriction.findall(f"{SAML}Audience")}
        if not named & set(expected.audiences):
            refuse("wrong audience")
    return until


def _check_window(element: Element, expected: Expected) -> float:
    """Check NotBefore and NotOnOrAfter, the latter without leeway; returns the latter."""
    until = _time(element, "NotOnOrAfter")
    if until <= expected.now:
        refuse(f"expired {expected.now - until:.0f} s ago")
    if element.get("NotBefore") is not None:
        since = _time(element, "NotBefore")
        if since > expected.now + expected.leeway_s:
            refuse("not valid yet")
    return until


def _check_confirmation(subject: Element, request_id: str, expected: Expected) -> float:
    """Check that the bearer was meant to bring it here, now; returns until when."""
    confirmation = only_child(subject, f"{SAML}SubjectConfirmation")
    if confirmation.get("Method") != _BEARER:
        refuse("confirmed otherwise than by bearer")
    data = only_child(confirmation, f"{SAML}SubjectConfirmationData")
    if data.get("Recipient") != expected.recipient:
        refuse("wrong recipient")
    if data.get("InResponseTo") != request_id:
        refuse("assertion and response answer different requests")
    return _check_window(data, expected)


def _read_groups(signed: Element, name: str) -> tuple[str, ...]:
    found: list[str] = []
    for statement in signed.findall(f"{SAML}AttributeStatement"):
        for attribute in statement.findall(f"{SAML}Attribute"):
            if attribute.get("Name") == name:
                values = attribute.findall(f"{SAML}AttributeValue")
                found += [safe_text("groups", text_of(value)) for value in values]
    if len(found) > GROUPS_PER_TOKEN_MAX:
        refuse(f"over {GROUPS_PER_TOKEN_MAX} groups")
    return tuple(dict.fromkeys(found))


def _time(element: Element, name: str) -> float:
    given = element.get(name)
    if given is None or not _TIME.fullmatch(given):
        refuse(f"{name} is missing or no time in UTC")
    try:
        # Finer than microseconds is nobody's expiry; `fromisoformat` of 3.11 takes six digits.
        whole, _, fraction = given.rstrip("Z").partition(".")
        moment = datetime.datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}+00:00")
    except ValueError:
        refuse(f"{name} is no time")
    return moment.timestamp()


def expected_from_wire(wire: dict[str, Any]) -> Expected:
    """Rebuild what the control process sent."""
    lists: Sequence[str] = ("certificates", "audiences")
    return Expected(**(wire | {name: tuple(wire[name]) for name in lists}))
