"""`analyze`: from statement text to facts. Pure: (text, catalog, search_path, parameter types).

Newcomer's order: `parse` -> this -> `query` -> `from_clause` -> `expressions` -> `calls`.
"""

from __future__ import annotations

from gateway.errors import NotUnderstood, TooComplex
from gateway.sql import (
    copying,
    ddl_alter,
    ddl_create,
    ddl_other,
    invocations,
    modify,
    sqljson,
    statements,
)
from gateway.sql.catalog import Catalog
from gateway.sql.ddl_create import create_table_as, select_into
from gateway.sql.effects import Node, Walk
from gateway.sql.facts import Output, StatementFacts
from gateway.sql.parse import parse
from gateway.sql.statements import QUERY_KINDS, Draft, StatementWalk
from gateway.sql.values import Column

_HANDLERS: dict[str, StatementWalk] = {
    **statements.HANDLERS,
    **copying.HANDLERS,
    **ddl_create.HANDLERS,
    **ddl_alter.HANDLERS,
    **ddl_other.HANDLERS,
}
# Imported for the handlers they register.
_REGISTERED = (invocations, modify, sqljson)


def analyze(
    sql: bytes,
    catalog: Catalog,
    *,
    search_path: tuple[str, ...],
    param_oids: tuple[int, ...] = (),
) -> tuple[StatementFacts, ...]:
    """Return the facts of every statement in `sql`, in order.

    Raises StatementSyntax, NotUnderstood, TooComplex, or NotGranted for a relation that the
    snapshot does not hold, which must read like one that is not granted. Nothing of the string
    may run when any statement of it raises.
    """
    nodes = parse(sql)
    path = catalog.effective_path(search_path)
    alone = len(nodes) == 1
    found = tuple(
        statement_facts(node, Walk(catalog, path, param_oids), alone=alone) for node in nodes
    )
    if not alone:
        _check_order(found)
    return found


def _check_order(found: tuple[StatementFacts, ...]) -> None:
    """Refuse a string in which one statement may change what names mean in a later one."""
    moved = False
    for statement in found:
        if moved and (statement.reads or any(e.id in _NAMED for e in statement.effects)):
            raise NotUnderstood(
                "a statement follows one that may change what its names mean",
                hint="Send them one at a time.",
            )
        moved = moved or statement.ddl or statement.resets_settings
        moved = moved or any(
            e.id in ("session.set", "session.role", "code.do") or e.id.startswith("function.")
            for e in statement.effects
        )


_NAMED = frozenset(
    "rows.read rows.insert rows.update rows.delete rows.merge rows.lock copy.in copy.out".split()
)


def statement_facts(node: Node, walk: Walk, *, alone: bool = True) -> StatementFacts:
    """Return the facts of one parsed statement."""
    if not alone:
        walk.by_text()
    try:
        draft = _draft(node, walk)
    except RecursionError as error:
        raise TooComplex("the statement is nested too deeply") from error
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        # A tree of a shape no rule foresaw: by construction refused, never guessed at.
        raise NotUnderstood(
            "the statement has a form that is not analysed", reason=repr(error)
        ) from error
    return StatementFacts(
        kind=draft.kind,
        effects=walk.final_effects(),
        outputs=_outputs(draft.columns),
        uses=walk.final_uses(),
        reads=frozenset(walk.reads),
        no_where=walk.no_where,
        nested_write=walk.nested_write,
        txn=draft.txn,
        pin=walk.pin,
        ddl=draft.ddl,
        copy=draft.copy,
        copy_form=draft.copy_form,
        deallocate=draft.deallocate,
        resets_settings=walk.resets_settings,
        shows=draft.shows,
        sets=draft.sets,
        setting=draft.setting,
        cursor=draft.cursor,
        cache=walk.cache,
    )


def _draft(node: Node, walk: Walk) -> Draft:
    ((kind, body),) = node.items()
    if kind in QUERY_KINDS:
        if kind == "SelectStmt" and (into := select_into(body)) is not None:
            return create_table_as(walk, into)
        return statements.query(walk, node)
    handler = _HANDLERS.get(kind)
    if handler is None:
        raise NotUnderstood(f"{kind.removesuffix('Stmt')} is not analysed")
    return handler(walk, body)


def _outputs(columns: tuple[Column, ...] | None) -> tuple[Output, ...] | None:
    if columns is None:
        return None
    return tuple(
        Output(
            name,
            "direct" if value.direct else ("derived" if value.refs else "clear"),
            value.refs,
        )
        for name, value in columns
    )
