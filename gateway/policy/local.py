"""What the gateway answers by itself: `SHOW postern.*` and `SET postern.*`.

So that a model can plan inside its rights instead of probing. Every answer is one line of JSON,
and holds nothing that a refusal would not tell: no exceptions from grants, no masks on tables
that are not granted.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.errors import ClientError, NotUnderstood, quote_name
from gateway.limits import COMMENT_BYTES_MAX
from gateway.policy.bundle import Bundle, canonical_groups
from gateway.policy.names import nearest
from gateway.policy.principal import Principal
from gateway.policy.refusals import grant_text
from gateway.policy.rights import Rights
from gateway.sql.catalog import Catalog
from gateway.sql.facts import ColumnRef, Effect, StatementFacts

PREFIX: Final = "postern."
SHOWS: Final = ("whoami", "grants", "masks", "limits")
SETS: Final = ("reason", "ticket", "run_id")


def answer(
    statement: StatementFacts,
    *,
    bundle: Bundle,
    catalog: Catalog,
    principal: Principal,
    rights: Rights,
) -> dict[str, Any] | ClientError | None:
    """Return what the worker is to answer, a refusal, or None for the server's own business."""
    if statement.shows is not None and statement.shows.lower().startswith(PREFIX):
        name = statement.shows[len(PREFIX) :].lower()
        if name not in SHOWS:
            return _unknown(name, SHOWS, "SHOW")
        value = _show(name, bundle=bundle, catalog=catalog, principal=principal, rights=rights)
        return {"show": name, "value": orjson.dumps(value).decode()}
    if statement.sets is not None and statement.sets[0].lower().startswith(PREFIX):
        name, value = statement.sets[0][len(PREFIX) :].lower(), statement.sets[1]
        if name not in SETS:
            return _unknown(name, SETS, "SET")
        if len(value.encode(errors="replace")) > COMMENT_BYTES_MAX:
            return NotUnderstood(f"postern.{name} takes at most {COMMENT_BYTES_MAX} bytes")
        return {"set": [name, value]}
    return None


def _unknown(name: str, known: tuple[str, ...], verb: str) -> ClientError:
    listed = ", ".join(f"postern.{word}" for word in known)
    return NotUnderstood(
        f"{verb} {quote_name('postern', name)}: no such setting{nearest(name, known)}",
        hint=f"There are {listed}.",
    )


def _show(
    name: str, *, bundle: Bundle, catalog: Catalog, principal: Principal, rights: Rights
) -> Any:
    if name == "whoami":
        return {
            "issuer": principal.issuer,
            "subject": principal.subject,
            "groups": canonical_groups(bundle.groups_of(principal)),
            "target": rights.target,
            "level": rights.level,
            "mode": rights.mode,
            "agent": principal.agent,
            "run_id": principal.run_id,
            "expires_at": principal.expires_at,
        }
    if name == "grants":
        guards = [{"effects": guard.effects, "rule": guard.id} for guard in rights.guards]
        shown: dict[str, Any] = {
            "granted": [grant_text(grant) for grant in rights.grants],
            "needs_approval": guards,
            "denied": sorted({effect for deny in rights.denies for effect in deny.effects}),
        }
        if rights.actor_grants is not None:
            # Two lists, since what both cover is a set of statements and not of rules.
            shown["and_granted_to_actor"] = [grant_text(grant) for grant in rights.actor_grants]
        return shown
    if name == "masks":
        return _masks(catalog, rights)
    bounds = rights.profile.bounds
    return {"enforced": bounds.enforced, "limits": bounds.listed()}


def _masks(catalog: Catalog, rights: Rights) -> list[dict[str, str]]:
    shown: list[dict[str, str]] = []
    for ref, column in sorted(rights.masked.items(), key=lambda item: _sort_key(catalog, item[0])):
        relation = catalog.relation_ref(ref.relation_oid)
        read = Effect("rows.read", relation)
        if not all(any(g.covers(read) for g in party.grants) for party in rights.parties()):
            continue
        kind = "not available" if column.blocked else rights.profile.masks[column.index].kind
        name = f"{relation.schema}.{relation.name}.{catalog.column_name(ref)}"
        shown.append({"column": name, "mask": kind})
    return shown


def _sort_key(catalog: Catalog, ref: ColumnRef) -> tuple[str, str, int]:
    relation = catalog.relation_ref(ref.relation_oid)
    return relation.schema, relation.name, ref.attnum
