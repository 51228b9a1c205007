"""The authenticated identity, as every layer above `identity` sees it.

Identity is issuer plus subject. The user name a client sends is a requested profile and never
appears here; groups carry the id of the issuer that vouched for them, so that one issuer cannot
hand out the groups of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """One verified token's identity; `groups` are `issuer-id:group`."""

    issuer_id: str
    issuer: str
    subject: str
    groups: tuple[str, ...]
    token_id: str | None
    expires_at: float
    issued_at: float
    agent: str | None = None
    run_id: str | None = None
    # Who acts for the subject (`act`); rights are what both of them hold.
    actor: str | None = None
    actor_issuer: str | None = None  # id of the issuer that vouches for the actor
    actor_groups: tuple[str, ...] = ()
    key_id: str | None = None  # of the issuer's key that signed: it may be revoked
    # Set by a token of our own: its id, and what it was narrowed to.
    gateway_token: str | None = None
    only_target: str | None = None
    only_level: str | None = None
    certificate: str | None = None  # SHA-256 of the client certificate the token is bound to
    login: str | None = None  # the provider's session (`sid`), which may be logged out there

    @property
    def key(self) -> str:
        """`issuer|subject`, unambiguous because a bar inside the issuer is escaped."""
        return f"{self.issuer.replace('|', '%7C')}|{self.subject}"

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict for the channel between processes."""
        return {
            "issuer_id": self.issuer_id,
            "issuer": self.issuer,
            "subject": self.subject,
            "groups": list(self.groups),
            "token_id": self.token_id,
            "expires_at": self.expires_at,
            "issued_at": self.issued_at,
            "agent": self.agent,
            "run_id": self.run_id,
            "actor": self.actor,
            "actor_issuer": self.actor_issuer,
            "actor_groups": list(self.actor_groups),
            "key_id": self.key_id,
            "gateway_token": self.gateway_token,
            "only_target": self.only_target,
            "only_level": self.only_level,
            "certificate": self.certificate,
            "login": self.login,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Principal:
        """Rebuild what `to_wire` gave; raises KeyError when a field is missing."""
        return cls(
            issuer_id=wire["issuer_id"],
            issuer=wire["issuer"],
            subject=wire["subject"],
            groups=tuple(wire["groups"]),
            token_id=wire["token_id"],
            expires_at=wire["expires_at"],
            issued_at=wire["issued_at"],
            agent=wire["agent"],
            run_id=wire["run_id"],
            # Approvals that were stored by an earlier version have none of the rest.
            actor=wire.get("actor"),
            actor_issuer=wire.get("actor_issuer"),
            actor_groups=tuple(wire.get("actor_groups", ())),
            key_id=wire.get("key_id"),
            gateway_token=wire.get("gateway_token"),
            only_target=wire.get("only_target"),
            only_level=wire.get("only_level"),
            certificate=wire.get("certificate"),
            login=wire.get("login"),
        )
