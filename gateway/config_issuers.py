"""The parties whose word about identities is taken, and how people log in at them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import config_values as kinds
from gateway import limits
from gateway.config_credential import Credential, CredentialKeys
from gateway.config_values import section, setting

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.config_build import Builder
    from gateway.config_source import KeyPath

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip  # asymmetric only: with HS* the issuer's public key would be the signing key


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerLogin:
    """The gateway as a client of an OpenID provider, for people who log in at the web pages."""

    client_id: str | None = setting(
        kinds.optional_string(),
        "Client id of the gateway's own web login; empty means none. It is an audience too.",
        default="",
    )
    scope: str = setting(
        kinds.string(empty=False), "Scope of the web login.", default="openid profile"
    )
    credential: Credential = section(
        CredentialKeys,
        "Where the client's secret is found; none for a public client.",
        build=CredentialKeys.build,
        default=lambda: Credential("none"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One party whose tokens prove an identity."""

    id: str
    kind: str = setting(
        kinds.choice("oidc", "saml", "local"),
        "`oidc` verifies an identity provider's tokens; `saml` is for logins at the pages and "
        "needs the extra `saml`; `local` mints its own, for development.",
        default="oidc",
    )
    issuer: str = setting(
        kinds.string(empty=False),
        "Exact value of the `iss` claim; for oidc the discovery URL, for saml the entity id.",
    )
    audiences: tuple[str, ...] = setting(
        kinds.strings(least=1),
        "Accepted `aud` values; for saml the first is our entity id.",
        default=["postern"],
    )
    algorithms: tuple[str, ...] = setting(
        kinds.strings(least=1, allowed=ALGORITHMS),
        "Accepted signature algorithms.",
        default=["RS256", "ES256", "EdDSA"],
    )
    groups_claim: str = setting(
        kinds.string(empty=False),
        "Claim that lists the groups; dots reach into nested claims. For saml the name of the "
        "attribute.",
        default="groups",
        key="groups.claim",
    )
    jwks_file: Path | None = setting(
        kinds.optional_path(), "Key set from a file instead of discovery.", default=""
    )
    authorized_parties: tuple[str, ...] = setting(
        kinds.strings(),
        "Clients (`azp` or `client_id`) whose tokens are taken; empty means all of the issuer's.",
        default=[],
    )
    agent_claim: str = setting(
        kinds.string(empty=False),
        "Claim that names the agent. Who has one is a program: it holds no role of people.",
        default="agent",
    )
    run_claim: str = setting(
        kinds.string(empty=False), "Claim that names the run of an agent.", default="run_id"
    )
    required_claims: Mapping[str, object] = setting(
        kinds.claims(), "Claims that must be present with exactly these values.", default={}
    )
    max_age_s: float = setting(
        kinds.duration(60.0, limits.TOKEN_AGE_S_MAX),
        "Oldest accepted `iat`.",
        default="24h",
        key="max_age",
    )
    leeway_s: float = setting(
        kinds.duration(0.0, limits.LEEWAY_S_MAX),
        "Clock difference allowed between the issuer and this host.",
        default="30s",
        key="leeway",
    )
    saml_metadata: Path | None = setting(
        kinds.optional_path(), "File with the metadata of a saml issuer.", default=""
    )
    saml_signed: str = setting(
        kinds.choice("both", "assertion"),
        "What a saml issuer must sign: response and assertion, or the assertion alone.",
        default="both",
    )
    introspection: bool = setting(
        kinds.boolean(),
        "Ask this issuer about opaque tokens at the token exchange (RFC 7662), as the client of "
        "`login`. At most one issuer.",
        default=False,
    )
    login: IssuerLogin = section(IssuerLogin, "Web login of people (authorization code, PKCE).")


def check_issuer(issuer: Issuer, config: Config, builder: Builder) -> None:
    """Check what one setting alone cannot tell; raises ConfigError."""
    where: KeyPath = ("issuers", issuer.id, "issuer")
    twins = [other for other in config.issuers if other.issuer == issuer.issuer]
    if twins[0] is not issuer:
        raise builder.error(where, f"same as issuer {twins[0].id!r}; a token would fit both")
    _check_login(issuer, config, builder)
    if issuer.kind == "saml":
        _check_saml(issuer, config, builder)
        return
    if issuer.kind == "local" or issuer.jwks_file is not None:
        return
    # Over plain HTTP anyone on the path hands us the keys of their choice.
    secure = issuer.issuer.startswith("https://")
    local = issuer.issuer.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
    if not secure and not local:
        raise builder.error(where, "discovery needs an https:// URL, or set jwks_file")


def _check_login(issuer: Issuer, config: Config, builder: Builder) -> None:
    client_id = issuer.login.client_id
    if issuer.introspection:
        key: KeyPath = ("issuers", issuer.id, "introspection")
        if client_id is None or issuer.login.credential.kind == "none":
            raise builder.error(key, "needs login.client_id and login.credential")
        if [one.id for one in config.issuers if one.introspection] != [issuer.id]:
            # An opaque token does not say whose it is, and one issuer's is no other's business.
            raise builder.error(key, "only one issuer can be asked about opaque tokens")
    if client_id is None:
        return
    where: KeyPath = ("issuers", issuer.id, "login", "client_id")
    if issuer.kind != "oidc" or issuer.jwks_file is not None:
        raise builder.error(where, "a web login needs an issuer of kind oidc with discovery")
    if client_id not in issuer.audiences:
        raise builder.error(where, "add it to the issuer's audiences: its tokens are made for it")
    if not config.control.public_url:
        raise builder.error(where, "control.public_url must be set as well")


def _check_saml(issuer: Issuer, config: Config, builder: Builder) -> None:
    if issuer.saml_metadata is None:
        where: KeyPath = ("issuers", issuer.id, "saml_metadata")
        raise builder.error(where, "needed for kind saml")
    if not config.control.public_url:
        where = ("issuers", issuer.id, "kind")
        raise builder.error(where, "control.public_url must be set for kind saml")
    if importlib.util.find_spec("signxml") is None:
        where = ("issuers", issuer.id, "kind")
        raise builder.error(where, "saml needs more packages: pip install 'pgpostern[saml]'")
