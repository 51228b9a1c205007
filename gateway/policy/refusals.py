"""The words of refusals: what was refused, on which object, and what would work.

A model reads these and acts on them, and an attacker reads them too. Objects are named as the
client could have written them, from the search path alone, so that an invisible relation and a
missing one give the same bytes. Patterns of grants are shown, exceptions from them are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import (
    ClientError,
    DeniedByRule,
    MaskedColumnUse,
    NotGranted,
    WriteUnderRead,
    quote_name,
)
from gateway.policy.rights import GrantRule, Rights
from gateway.sql.facts import ColumnRef, Effect, RelationRef, StatementFacts

# Of the 300 bytes a message may have, less the id and the closing words.
_SUMMARY_BYTES_MAX: Final = 230

_PLACES: Final = {
    "expression": "inside an expression",
    "where": "in a condition",
    "equality": "in a condition",
    "join": "in a join",
    "group": "in GROUP BY",
    "order": "in ORDER BY",
    "distinct": "under DISTINCT or a set operation",
    "aggregate": "in an aggregate",
    "window": "in a window",
    "limit": "in LIMIT",
    "whole_row": "as part of a whole row",
    "returning": "inside an expression of RETURNING",
    "assign": "as a value to store",
    "source": "as a value to store",
    "copy": "in COPY",
    "explain": "under EXPLAIN",
    "function": "as an argument of a function",
    "constraint": "by a constraint on what is written",
    "unknown": "where the result cannot be told apart",
    "blocked": "in a derived form",
}
_HINTS: Final = {
    "where": "Filter by another column, such as the primary key.",
    "equality": "Filter by another column, such as the primary key.",
    "join": "Join by another column.",
    "group": "Group by another column.",
    "order": "Order by another column.",
    "distinct": "Select the column without DISTINCT; use UNION ALL without it.",
    "whole_row": "List the columns you need instead of the whole row.",
    "assign": "Store only values that you supply yourself.",
    "source": "Leave the column out of what is stored.",
    "copy": "Run a SELECT of the columns, or leave the masked ones out of COPY.",
    "explain": "Leave the column out; masked columns are not explained.",
    "constraint": "Write other columns: whether this write succeeds would tell a masked value.",
    "blocked": "Leave the column out.",
}


@dataclass(frozen=True, slots=True)
class Namer:
    """Names objects as the client could have written them."""

    search_path: tuple[str, ...]

    def relation(self, relation: RelationRef) -> str:
        """Quote the relation; a schema that the search path implies is left out."""
        if not relation.schema or relation.schema in self.search_path:
            return quote_name(relation.name)
        return quote_name(relation.schema, relation.name)

    def object(self, effect: Effect) -> str:
        """Return ` on "object"`, or nothing for an effect without one."""
        if effect.relation is not None:
            return f" on {self.relation(effect.relation)}"
        if effect.name:
            schema, dot, name = effect.name.partition(".")
            return f" of {quote_name(schema, name) if dot else quote_name(schema)}"
        return ""


def plain_name(relation: RelationRef) -> str:
    """Return `schema.name` for records; never sent to a client."""
    return f"{relation.schema}.{relation.name}" if relation.schema else relation.name


def not_granted(effect: Effect, grants: Sequence[GrantRule], namer: Namer) -> ClientError:
    """Nothing covers the effect, or its object is not visible."""
    what = f"{effect.id}{namer.object(effect)} is not granted"
    allowed = grants_summary(grants, _SUMMARY_BYTES_MAX - len(what.encode()))
    return NotGranted(
        f"{what}; granted here: {allowed}" if allowed else what,
        facts=_facts(effect, namer),
    )


def hidden_relation(
    relation: RelationRef,
    grants: Sequence[GrantRule],
    namer: Namer,
    *,
    uncommitted: bool = False,
) -> ClientError:
    """A relation that the principal may not see, or that is not there: one text for both."""
    what = f"relation {namer.relation(relation)} does not exist or is not granted"
    if uncommitted:
        what += "; one created in this transaction can be used after COMMIT"
    allowed = grants_summary(grants, _SUMMARY_BYTES_MAX - len(what.encode()))
    return NotGranted(
        f"{what}; granted here: {allowed}" if allowed else what,
        facts={"object": namer.relation(relation)},
    )


def columns_not_granted(
    effect: Effect, refused: Sequence[str], holding: Sequence[GrantRule], namer: Namer
) -> ClientError:
    """The verb is granted, and only for other columns."""
    verb = "update" if effect.id == "rows.update" else "insert"
    allowed = sorted({name for grant in holding for name in grant.columns.get(verb, ())})
    columns = "all columns" if "*" in refused else _columns(refused)
    return NotGranted(
        f"{effect.id}{namer.object(effect)} is granted for {_columns(allowed)}, not for {columns}",
        hint="Write only the granted columns.",
        facts={**_facts(effect, namer), "granted_columns": allowed},
    )


def write_under_read(effect: Effect, namer: Namer) -> ClientError:
    """The object may be read, and the effect changes something."""
    return WriteUnderRead(
        f"{effect.id}{namer.object(effect)} is not granted: this may only be read here",
        facts=_facts(effect, namer),
    )


def denied(rule: str, effect: Effect, namer: Namer) -> ClientError:
    """A deny covers the effect."""
    return DeniedByRule(
        f"{effect.id}{namer.object(effect)} is denied by rule {quote_name(rule)}",
        facts={**_facts(effect, namer), "rule": rule},
    )


def mixed_transaction() -> ClientError:
    """Transaction control between other statements, for a principal that only reads."""
    return NotGranted(
        "transaction control together with other statements in one string is not granted to "
        "read-only sessions; send each statement by itself",
        hint="Send BEGIN, the statements and COMMIT one at a time.",
    )


def nobody_approves(rules: Iterable[str]) -> ClientError:
    """Several guards hold the statement and no group may approve for all of them."""
    names = ", ".join(quote_name(rule) for rule in sorted(rules))
    return DeniedByRule(
        f"rules {names} need approvals from different groups; do these things one by one",
        hint="Split the statement so that one rule applies to each part.",
    )


def unbound_mask(masks: Sequence[str]) -> ClientError:
    """A mask of the policy fits no column of the database: what it hid may have moved."""
    return DeniedByRule(
        f"mask {quote_name(masks[0])} of the policy does not fit this database; "
        "statements on tables are refused until the policy is corrected",
        hint="Tell the operator: postern policy check names the column.",
        facts={"rule": masks[0]},
    )


def masked_use(
    rights: Rights, ref: ColumnRef, place: str, namer: Namer, statement: StatementFacts
) -> ClientError:
    """A masked column is used other than as a plain output column."""
    mask = rights.masked[ref].mask_id
    column, relation = _find_names(rights, ref, statement)
    table = f" of {namer.relation(relation)}" if relation is not None else ""
    name = quote_name(column) if column else f"under mask {quote_name(mask)}"
    where = _PLACES.get(place, "where its value could show")
    if place == "constraint":
        # The other table of a foreign key may be one that this principal does not see.
        message = "a constraint compares what is written with a masked column"
        facts: dict[str, object] = {"place": place}
        return MaskedColumnUse(message, hint=_HINTS[place], facts=facts)
    if place == "blocked":
        message = f"column {name}{table} shows a masked column in a derived form and is not given"
    else:
        message = f"masked column {name}{table} is used {where}; it may only be selected by itself"
    facts = {"mask": mask, "place": place}
    if column:
        facts["column"] = column
    if relation is not None:
        facts["object"] = namer.relation(relation)
    return MaskedColumnUse(message, hint=_HINTS.get(place, ""), facts=facts)


def masked_write(effect: Effect, column: str, namer: Namer) -> ClientError:
    """A column the principal sees masked is written without a grant that names it."""
    return NotGranted(
        f"{effect.id}{namer.object(effect)}: column {quote_name(column)} is masked for you; "
        "writing it needs a grant that names the column",
        hint="Leave the column out of what you write.",
        facts={**_facts(effect, namer), "column": column},
    )


def masked_alter(effect: Effect, namer: Namer) -> ClientError:
    """A table with columns masked for the principal is altered under a mere level."""
    return NotGranted(
        f"{effect.id}{namer.object(effect)}: columns of it are masked for you; "
        f"altering it needs a grant that lists the effect {effect.id}",
        hint="Ask the policy owner for a grant of this effect.",
        facts=_facts(effect, namer),
    )


def grants_summary(grants: Iterable[GrantRule], bytes_max: int) -> str:
    """Return what is granted as `read sales.*, write sales.refunds`, cut between grants."""
    parts = [part for grant in grants if (part := grant_text(grant))]
    kept: list[str] = []
    for part in dict.fromkeys(parts):
        if len(", ".join([*kept, part]).encode()) > bytes_max:
            return ", ".join([*kept, "..."]) if kept else ""
        kept.append(part)
    return ", ".join(kept)


def grant_text(grant: GrantRule) -> str:
    """Return one grant in a few words; exceptions are left out, they name what is invisible."""
    words = [grant.level] if grant.level is not None else []
    names = "+".join([*words, *grant.effects])
    parts: list[str] = []
    if names:
        scope = ""
        if grant.scope.schema is not None:
            tables = grant.scope.tables
            listed = tables[0] if len(tables) == 1 else "{" + ",".join(tables) + "}"
            scope = f" {grant.scope.schema}.{listed}"
        parts.append(names + scope)
    if grant.functions:
        parts.append("call " + " ".join(grant.functions))
    return ", ".join(parts)


def _facts(effect: Effect, namer: Namer) -> dict[str, object]:
    facts: dict[str, object] = {"effect": effect.id}
    if effect.relation is not None:
        facts["object"] = namer.relation(effect.relation)
    elif effect.name:
        facts["object"] = effect.name
    return facts


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(quote_name(name) for name in names[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"


def _find_names(
    rights: Rights, ref: ColumnRef, statement: StatementFacts
) -> tuple[str, RelationRef | None]:
    """Return the column's name and relation as far as the statement itself names them."""
    for use in statement.uses:
        if use.column == ref:
            return use.name, use.relation
    names = rights.column_names.get(ref, "")
    for effect in statement.effects:
        if effect.relation is not None and effect.relation.oid == ref.relation_oid:
            return names, effect.relation
    return names, None
