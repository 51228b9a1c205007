"""Ask an issuer about a token that only it can read (RFC 7662).

What it answers is held to the same rules as signed claims. It is the issuer's word of this moment,
so it is asked again whenever the token is presented.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from gateway.identity import claims as rules
from gateway.identity.claims import refuse
from gateway.identity.provider_http import (
    ProviderError,
    fetch_discovery,
    post_form,
    provider_client,
)
from gateway.limits import GATEWAY_TOKEN_S_MAX

if TYPE_CHECKING:
    from gateway.config import Issuer
    from gateway.policy.principal import Principal

_OPAQUE: Final = re.compile(r"[A-Za-z0-9._~+/=-]{16,2048}", re.ASCII)


def is_opaque(token: str) -> bool:
    """Tell whether `token` could be one that only its issuer can read."""
    return token.count(".") != 2 and _OPAQUE.fullmatch(token) is not None


async def introspect(issuer: Issuer, secret: bytes, token: str, now: float) -> Principal:
    """Return whom the issuer says `token` is about, for a short time.

    Raises TokenInvalid or TokenExpired, also when the issuer does not answer.
    """
    try:
        async with provider_client() as client:
            url = (await fetch_discovery(client, issuer)).get("introspection_endpoint")
            if not isinstance(url, str):
                refuse("the issuer has no introspection_endpoint")
            fields = {"token": token, "token_type_hint": "access_token"}
            auth = (issuer.login.client_id or "", secret.decode())
            status, answer = await post_form(client, issuer, url, fields, auth)
    except ProviderError as error:
        refuse(f"introspection: {error}")
    if status != 200:
        refuse(f"introspection: status {status}")
    if answer.get("active") is not True:
        refuse("the issuer says the token is not active")
    return _read(answer, issuer, token, now)


def _read(answer: dict[str, Any], issuer: Issuer, token: str, now: float) -> Principal:
    if answer.get("iss", issuer.issuer) != issuer.issuer:
        refuse("introspection: of another issuer")
    # Only `active` is certain to be there. What is missing is filled in to the narrower side.
    party = rules.optional_text(answer, "client_id")
    until = now + GATEWAY_TOKEN_S_MAX
    given = {"iat": now, "exp": until, "aud": party} | answer
    given["exp"] = min(rules.seconds(given, "exp"), until)
    rules.check_audience(given, issuer)
    rules.check_time(given, issuer, now)
    rules.check_required(given, issuer)
    rules.check_party(given, issuer)
    digest = hashlib.sha256(token.encode()).hexdigest()
    return rules.read_principal(given, issuer, key_id=None, token_digest=f"sha256:{digest}")
