"""The seam between expressions and queries, which contain each other.

`query` fills it in when it is imported; kept apart so that no import is circular.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import InvariantError
from gateway.sql.effects import Node, Walk
from gateway.sql.scope import Scope
from gateway.sql.values import Column

QueryWalk = Callable[[Walk, Scope, Node], tuple[Column, ...]]
_query: list[QueryWalk] = []


def provide(function: QueryWalk) -> None:
    """Set the function that analyses a query node."""
    _query[:] = [function]


def query_columns(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse the query `node` inside `parent` and return its output columns."""
    if not _query:
        raise InvariantError("gateway.sql.query was not imported")
    return _query[0](walk, parent, node)
