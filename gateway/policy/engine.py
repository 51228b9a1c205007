"""The seam between the analyzer process and the policy: one request in, one decision out.

Holds the compiled form of one bundle for one set of catalog snapshots. A new bundle or a new
snapshot is a new Engine, swapped in whole, so that no decision sees half of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from gateway.errors import (
    ApprovalPending,
    ClientError,
    NoGrantOnTarget,
    NotReady,
    NotUnderstood,
    Problem,
    quote_name,
)
from gateway.policy.bundle import Bundle
from gateway.policy.compile import TargetPolicy, compile_target
from gateway.policy.decide import decide
from gateway.policy.decision import Cache, DecideRequest, Decision, error_to_wire
from gateway.policy.hidden import first_hidden
from gateway.policy.kept import Kept
from gateway.policy.local import answer
from gateway.policy.principal import Principal
from gateway.policy.profile import Profile
from gateway.policy.refusals import Namer, hidden_relation
from gateway.policy.rights import Rights
from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.facts import StatementFacts

RIGHTS_CACHED_MAX: Final = 4_096
_RightsKey = tuple[str, frozenset[str], frozenset[str] | None, str]


class Engine:
    """Decides for every target whose catalog is known."""

    def __init__(
        self,
        bundle: Bundle,
        catalogs: Mapping[str, Catalog],
        *,
        kept: Mapping[str, Kept] | None = None,
    ) -> None:
        """Compile `bundle` for each catalog; what does not fit is in `problems`.

        `kept` is what an engine before this one bound masks to: those columns keep them even
        when they were renamed since.
        """
        known = kept or {}
        self.bundle = bundle
        self.targets: dict[str, TargetPolicy] = {
            name: compile_target(bundle, name, catalog, kept=known.get(name))
            for name, catalog in catalogs.items()
        }
        self._rights: dict[_RightsKey, Rights | None] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What must be corrected before this bundle may be activated on these databases."""
        return tuple(problem for target in self.targets.values() for problem in target.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is valid and doubtful, bundle and catalogs taken together."""
        found = [problem for target in self.targets.values() for problem in target.warnings]
        return (*self.bundle.warnings, *found)

    def kept(self) -> dict[str, Kept]:
        """Return what masks are bound to, by target."""
        return {name: target.kept() for name, target in self.targets.items()}

    def catalog(self, target: str) -> Catalog | None:
        """Return the snapshot in use for `target`."""
        compiled = self.targets.get(target)
        return compiled.catalog if compiled is not None else None

    def rights(self, principal: Principal, target: str, requested: str = "") -> Rights | None:
        """Return what `principal` holds on `target`, None without any grant there.

        Raises NotReady when the target is granted and its catalog is not loaded yet.
        """
        groups = self.bundle.groups_of(principal)
        acting: frozenset[str] | None = None
        if principal.actor is not None:
            acting = self.bundle.groups_of(replace(principal, groups=principal.actor_groups))
        wish = requested if requested in {"read", "write"} else ""
        key = (target, groups, acting, wish)
        if key in self._rights:
            return self._rights[key]
        compiled = self.targets.get(target)
        if compiled is None:
            if any(grant.target == target for grant in self.bundle.policy.grants):
                raise NotReady("the target's catalog is not loaded yet")
            return None
        if len(self._rights) >= RIGHTS_CACHED_MAX:
            self._rights.clear()
        self._rights[key] = compiled.rights(groups, wish, acting)
        return self._rights[key]

    def profile(self, principal: Principal, target: str, requested: str) -> Profile | None:
        """Return the profile of a session, None without any grant on the target."""
        rights = self.rights(principal, target, requested)
        return rights.profile if rights is not None else None

    def decide(self, request: DecideRequest) -> Decision:
        """Return the decision on one string of SQL. Raises nothing a client can cause."""
        try:
            rights = self.rights(request.principal, request.target, request.requested)
        except ClientError as error:
            return self._refuse(None, error)
        if rights is None:
            return self._refuse(None, NoGrantOnTarget("no grant on this database"))
        catalog = self.targets[request.target].catalog
        search_path = request.search_path or catalog.default_search_path
        path = catalog.effective_path(search_path)
        try:
            facts = analyze(
                request.sql, catalog, search_path=search_path, param_oids=request.param_oids
            )
        except ClientError as error:
            hidden = self._hidden(request, rights, path)
            return self._refuse(rights, hidden or error, cache=_refusal_cache(request))
        local = self._local(request, rights, facts)
        if local is not None:
            return local
        decision = _decide_all(rights, facts, path)
        if decision.action == "deny" and (hidden := self._hidden(request, rights, path)):
            return replace(decision, error=error_to_wire(hidden), cache=_refusal_cache(request))
        if decision.action == "approve" and request.in_transaction:
            return self._refuse(rights, _held_in_transaction(decision), like=decision)
        return decision

    def _hidden(
        self, request: DecideRequest, rights: Rights, path: tuple[str, ...]
    ) -> ClientError | None:
        """Return the refusal for the first relation the principal may not see, if there is one."""
        catalog = self.targets[request.target].catalog
        for party in rights.parties():
            found = first_hidden(request.sql, catalog, path, party)
            if found is not None:
                break
        else:
            return None
        # What this transaction has created is in nobody's catalog yet. Said to all who may
        # create, whatever is there, so that it tells nothing.
        uncommitted = request.in_transaction and rights.level == "admin"
        return hidden_relation(found, party.grants, Namer(path), uncommitted=uncommitted)

    def _local(
        self, request: DecideRequest, rights: Rights, facts: tuple[StatementFacts, ...]
    ) -> Decision | None:
        for statement in facts:
            found: dict[str, Any] | ClientError | None = answer(
                statement,
                bundle=self.bundle,
                catalog=self.targets[request.target].catalog,
                principal=request.principal,
                rights=rights,
            )
            if found is None:
                continue
            if isinstance(found, ClientError):
                return self._refuse(rights, found)
            if len(facts) > 1:
                alone = NotUnderstood(
                    "the gateway answers this only as a single statement",
                    hint="Send SHOW postern.* and SET postern.* by themselves.",
                )
                return self._refuse(rights, alone)
            return Decision(action="local", local=found, **_stamp(rights))
        return None

    def _refuse(
        self,
        rights: Rights | None,
        error: ClientError,
        *,
        cache: Cache = "never",
        like: Decision | None = None,
    ) -> Decision:
        stamp: dict[str, Any] = {"policy_digest": self.bundle.digest}
        if rights is not None:
            stamp = _stamp(rights)
        return Decision(
            action="deny",
            error=error_to_wire(error),
            rules=like.rules if like else (),
            effects=like.effects if like else (),
            objects=like.objects if like else (),
            cache=cache,
            **stamp,
        )


def _refusal_cache(request: DecideRequest) -> Cache:
    # The words depend on the transaction, so they are kept only for outside of one.
    return "never" if request.in_transaction else "text"


def _decide_all(
    rights: Rights, facts: tuple[StatementFacts, ...], path: tuple[str, ...]
) -> Decision:
    """Decide for each party; the strictest holds. What is not the grants is equal in all."""
    decisions = [decide(party, facts, search_path=path) for party in rights.parties()]
    refused = (one for one in decisions if one.action == "deny" or one.shadow is not None)
    return next(refused, decisions[0])


def _held_in_transaction(decision: Decision) -> ClientError:
    rule = decision.approval["rule"] if decision.approval else ""
    return ApprovalPending(
        f"rule {quote_name(rule)} needs an approval, which is not waited for inside a transaction",
        hint="Send the statement by itself, outside a transaction block.",
        facts={"rule": rule},
    )


def _stamp(rights: Rights) -> dict[str, Any]:
    return {
        "profile_key": rights.profile.key,
        "policy_digest": rights.profile.policy_digest,
        "catalog_version": rights.profile.catalog_version,
        "redact_params": rights.profile.redact_params,
    }
