"""Who may decide a request. Pure, so that every surface asks the same function.

Groups here are policy groups (`groups:` of the policy), never what a token says by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.units import format_duration

if TYPE_CHECKING:
    from gateway.approvals.model import Approval
    from gateway.approvals.terms import Terms
    from gateway.policy.principal import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A verified caller with what the active policy and the configuration make of it."""

    principal: Principal
    groups: frozenset[str] = field(default_factory=frozenset)  # policy groups it is in
    agent_groups: frozenset[str] = field(default_factory=frozenset)  # those of kind "agent"
    roles: frozenset[str] = field(default_factory=frozenset)  # "reviewer", "admin", "auditor"

    @property
    def key(self) -> str:
        """Issuer and subject: what makes two tokens one person."""
        return self.principal.key

    @property
    def is_agent(self) -> bool:
        """A program, or a person's token in the hands of one."""
        return bool(self.agent_groups) or self.principal.agent is not None


def is_requester(person: Person, approval: Approval) -> bool:
    """Tell whether `person` asked for this: as itself, as the agent, or as the agent's owner.

    With delegation the token's subject is the owner and `agent` the program that acts for it:
    both ends of it are the requester.
    """
    requester = approval.request.principal
    if person.key == requester.key:
        return True
    same_issuer = person.principal.issuer == requester.issuer
    return same_issuer and requester.agent == person.principal.subject


def why_not(person: Person, approval: Approval, now_s: float) -> str:
    """Return why `person` may not decide `approval`, or "" when it may."""
    if person.principal.expires_at <= now_s:
        return "your login has expired"
    if is_requester(person, approval):
        return "whoever asks for a statement never decides on it"
    if person.is_agent:
        return "agents never decide on approvals"
    if "reviewer" not in person.roles:
        return "you are not in a group that may decide approvals (control.reviewers)"
    if person.groups.isdisjoint(approval.request.terms.approvers):
        return "the rule asks for approvers of another group"
    return _not_now(person, approval.request.terms, now_s)


def _not_now(person: Person, terms: Terms, now_s: float) -> str:
    age_s = now_s - person.principal.issued_at
    if terms.login_within_s and age_s > terms.login_within_s:
        within = format_duration(terms.login_within_s)
        return f"the rule asks for a login not older than {within}; sign in again"
    closed = [window for window in terms.windows if not window.holds(now_s)]
    if closed:
        return f"the rule takes decisions only {closed[0]}"
    return ""


def require_may_decide(person: Person, approval: Approval, now_s: float) -> None:
    """Raise Refusal(FORBIDDEN) with the reason unless `person` may decide `approval`."""
    reason = why_not(person, approval, now_s)
    if reason:
        raise Refusal(RefusalCode.FORBIDDEN, reason)
