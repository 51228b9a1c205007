"""What calling a function, using an operator or casting to a type amounts to.

Built-ins are judged by name against the reviewed lists; whatever a user could have defined is
an effect of its own, also where it merely might be chosen by overload resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.sql import functions as allowed
from gateway.sql import settings
from gateway.sql.catalog import (
    FIRST_USER_OID,
    PG_CATALOG,
    FunctionInfo,
    OperatorInfo,
    Relation,
    TypeInfo,
)
from gateway.sql.effects import Node, Walk, refuse
from gateway.sql.facts import ColumnRef
from gateway.sql.scope import string_list
from gateway.sql.values import UNKNOWN, UNTYPED, Column, Value

_POLYMORPHIC: Final = frozenset({2249, 2276, 2277, 2283, 2776, 3500, 3831, 4537, 4538, 5077, 5078,
                                 5079, 5080})  # fmt: skip
_SYSTEM_USER_SINCE: Final = 160000


def find_functions(
    walk: Walk, schema: str, name: str, count: int
) -> tuple[list[FunctionInfo], list[FunctionInfo]]:
    """Return the built-in and the user-defined overloads that a call could mean."""
    builtin: list[FunctionInfo] = []
    user: list[FunctionInfo] = []
    for info in walk.catalog.functions.get(name, ()):
        if (info.schema != schema) if schema else (info.schema not in walk.path):
            continue
        if info.kind != "a" and not info.accepts(count):
            continue
        (builtin if _is_builtin(info) else user).append(info)
    return builtin, user


def _is_builtin(info: FunctionInfo) -> bool:
    if info.oid >= FIRST_USER_OID:
        return False
    return info.schema == PG_CATALOG or (
        info.schema == "information_schema" and info.name in allowed.INFORMATION_SCHEMA
    )


def call(walk: Walk, schema: str, name: str, args: Sequence[Node], values: list[Value]) -> int:
    """Note the effects of one call and return its result type, 0 when that is not known."""
    if name == "system_user" and walk.catalog.server_version < _SYSTEM_USER_SINCE:
        # Before 16 the word is an ordinary column name, which this grammar does not show.
        refuse("system_user is not analysed for this server version")
    builtin, user = find_functions(walk, schema, name, len(values))
    user = [info for info in user if not builtin or _may_take(walk, info, values)]
    for info in user:
        user_function(walk, info)
    if builtin:
        _builtin(walk, name, args)
    elif not user:
        written = f"{schema}.{name}" if schema else name
        walk.effect("function.call_unknown", name=written)
    types = {info.return_type for info in (*builtin, *user)}
    if len(types) == 1:
        result = types.pop()
        return UNTYPED if result in _POLYMORPHIC else result
    return UNTYPED


def _may_take(walk: Walk, info: FunctionInfo, values: list[Value]) -> bool:
    """Whether an overload could be chosen: no built-in value becomes a composite or an enum."""
    for value, expected in zip(values, info.arg_types, strict=False):
        if value.type_oid in (UNTYPED, UNKNOWN) or value.type_oid >= FIRST_USER_OID:
            continue
        kind = walk.catalog.types_by_oid.get(expected)
        if kind is not None and kind.kind in "ce" and expected not in walk.catalog.user_casts:
            return False
    return True


def user_function(walk: Walk, info: FunctionInfo) -> None:
    """Note a call of a function that initdb did not make."""
    if info.extension in allowed.REVIEWED_EXTENSIONS and info.volatility == "i":
        return
    walk.by_text()
    effect = "function.call_volatile" if info.volatility == "v" else "function.call"
    walk.effect(effect, name=f"{info.schema}.{info.name}")


def _builtin(walk: Walk, name: str, args: Sequence[Node]) -> None:
    if name in allowed.SIZED:
        walk.by_text()
    elif name in allowed.CATALOG:
        walk.by_text()
        walk.effect("catalog.read", name=f"{PG_CATALOG}.{name}")
    elif name in allowed.ALLOWED:
        return
    elif name in allowed.SEQUENCES:
        _sequence(walk, name, args)
    elif name == "set_config":
        _set_config(walk, args)
    elif name == "current_setting":
        _current_setting(walk, args)
    elif name == "pg_advisory_unlock_all":
        walk.effect("session.reset", name="advisory_locks")
    else:
        effect = allowed.refused_effect(name)
        if effect == "session.advisory_lock" and "xact" not in name:
            walk.pin = "advisory_lock"
        walk.by_text()
        walk.effect(effect, name=f"{PG_CATALOG}.{name}")


def _sequence(walk: Walk, name: str, args: Sequence[Node]) -> None:
    walk.by_text()
    text = constant_text(args[0]) if args else None
    parts = split_name(text) if text is not None else []
    relation = None
    if len(parts) == 1:
        relation = walk.catalog.find_relation("", parts[0], walk.path)
    elif len(parts) == 2:
        relation = walk.catalog.find_relation(parts[0], parts[1], walk.path)
    if relation is None or relation.ref.kind != "sequence":
        walk.effect("function.call_volatile", name=f"{PG_CATALOG}.{name}")
    else:
        # A sequence that a column owns goes with its table: who may insert there may count on.
        owner = walk.catalog.by_oid.get(walk.catalog.sequence_owners.get(relation.oid, 0))
        walk.effect(allowed.SEQUENCES[name], (owner or relation).ref)


def _set_config(walk: Walk, args: Sequence[Node]) -> None:
    walk.by_text()
    name = (constant_text(args[0]) if args else None) or ""
    value = constant_text(args[1]) if len(args) > 1 else None
    # A boolean setting is safe whatever the parameter turns out to be.
    is_safe = settings.is_safe(name, value) if value is not None else name.lower() == "jit"
    walk.effect("session.safe_set" if is_safe else "session.set", name=name.lower() or "?")
    if len(args) < 3 or args[2].get("A_Const", {}).get("boolval", {}).get("boolval") is not True:
        walk.pin = walk.pin or "settings"


def _current_setting(walk: Walk, args: Sequence[Node]) -> None:
    walk.by_text()
    name = ((constant_text(args[0]) if args else None) or "?").lower()
    # A parameter cannot be judged here. SQLAlchemy's reflection sends one; what it could name is
    # no more than pg_settings shows the same role.
    readable = name in settings.READABLE or (bool(args) and _is_parameter(args[0]))
    walk.effect("session.show" if readable else "catalog.sensitive", name=name)


def _is_parameter(node: Node) -> bool:
    while "TypeCast" in node:
        node = node["TypeCast"]["arg"]
    return "ParamRef" in node


def constant_text(node: Node) -> str | None:
    """Return the text of a string constant, seen through casts; None for anything else."""
    while "TypeCast" in node:
        node = node["TypeCast"]["arg"]
    constant = node.get("A_Const")
    if constant is None or "sval" not in constant:
        return None
    text: str = constant["sval"].get("sval", "")
    return text


def split_name(text: str) -> list[str]:
    """Return the parts of a possibly quoted, dotted name; empty if it is not one."""
    parts: list[str] = []
    position, size = 0, len(text)
    while position < size:
        if text[position] == '"':
            end, name = position + 1, ""
            while end < size and not (text[end] == '"' and text[end : end + 2] != '""'):
                name += text[end]
                end += 2 if text[end] == '"' else 1
            if end >= size:
                return []
            end += 1
        else:
            end = position
            while end < size and text[end] != ".":
                end += 1
            name = text[position:end].lower()
            if not name.replace("_", "a").replace("$", "a").isalnum():
                return []
        parts.append(name)
        if end < size and text[end] != ".":
            return []
        position = end + 1
    return parts


# -- operators ------------------------------------------------------------------------------


def operator(walk: Walk, names: list[Node], left: Value | None, right: Value | None) -> None:
    """Note the use of an operator as written, `OPERATOR(schema.op)` included."""
    parts = string_list(names)
    operator_name(walk, parts[-1], left, right, parts[0] if len(parts) > 1 else "")


def operator_name(
    walk: Walk, name: str, left: Value | None, right: Value | None, schema: str = ""
) -> None:
    """Note the use of operator `name`: nothing for a built-in, a call for a user's."""
    catalog = walk.catalog
    user = catalog.user_operators.get(name, ())
    if user:
        user = tuple(
            op for op in user if (op.schema == schema if schema else op.schema in walk.path)
        )
    if not user:
        if name not in catalog.operator_names or schema not in ("", PG_CATALOG):
            refuse(f"operator {name} is not known")
        return
    if not schema and _is_exact_builtin(walk, name, left, right):
        return
    for candidate in user:
        _user_operator(walk, candidate)


def _is_exact_builtin(walk: Walk, name: str, left: Value | None, right: Value | None) -> bool:
    """Whether an exact built-in match exists: overload resolution then looks no further."""
    left_type = left.type_oid if left is not None else 0
    right_type = right.type_oid if right is not None else 0
    if left is not None and right is not None:
        if left_type == UNKNOWN:
            left_type = right_type
        elif right_type == UNKNOWN:
            right_type = left_type
    elif UNKNOWN in (left_type, right_type):
        return False
    if (left_type == UNTYPED and left is not None) or (right_type == UNTYPED and right is not None):
        return False
    builtin = walk.catalog.builtin_operators
    if (name, left_type, right_type) in builtin:
        return True
    # varchar has no operators of its own: it is text by a binary-coercible cast.
    as_text = {1043: 25, 25: 25}
    pair = (as_text.get(left_type, left_type), as_text.get(right_type, right_type))
    return pair == (25, 25) and (name, *pair) in builtin


def _user_operator(walk: Walk, candidate: OperatorInfo) -> None:
    if candidate.function is None:
        walk.effect("function.call_unknown", name=f"{candidate.schema}.{candidate.name}")
    elif candidate.function.schema != PG_CATALOG or candidate.function.oid >= FIRST_USER_OID:
        user_function(walk, candidate.function)


# -- types ----------------------------------------------------------------------------------


def find_type(walk: Walk, node: Node) -> TypeInfo:
    """Return the type a TypeName means. Raises NotUnderstood when it is not in the snapshot."""
    if node.get("pct_type") or node.get("setof"):
        refuse("%TYPE and SETOF are not analysed here")
    parts = string_list(node.get("names"))
    if not parts or len(parts) > 2:
        refuse("a type is named in a way that is not analysed")
    schema = parts[0] if len(parts) == 2 else ""
    info = walk.catalog.find_type(schema, parts[-1], walk.path)
    if info is None:
        refuse("a type is not known")
    if node.get("arrayBounds"):
        array = walk.catalog.types.get((info.schema, f"_{info.name}"))
        info = array if array is not None else TypeInfo(0, info.schema, f"{info.name}[]", "b")
    return info


def cast(walk: Walk, source: Value, info: TypeInfo, *, is_constant: bool) -> Value:
    """Note a cast to `info` and return the value it gives."""
    if info.schema == PG_CATALOG and (info.name.lstrip("_").startswith("reg") or
                                      (is_constant and info.name == "interval")):  # fmt: skip
        walk.by_text()
    for type_oid in (info.oid, source.type_oid):
        for function in walk.catalog.user_casts.get(type_oid, ()):
            walk.by_text()
            walk.effect("function.call", name=function)
    is_base = info.schema != PG_CATALOG and info.kind == "b" and not info.element
    if is_base and info.oid and info.extension not in allowed.REVIEWED_EXTENSIONS:
        # Its input function is code that initdb did not bring.
        walk.effect("function.call_unknown", name=f"{info.schema}.{info.name}")
    row = walk.catalog.row_relation(info.oid)
    return Value(source.refs, False, info.oid, row.oid if row is not None else 0)


def row_columns(refs: frozenset[ColumnRef], relation: Relation) -> tuple[Column, ...]:
    """Return the fields of a row value of `relation`'s type that depends on `refs`.

    A table's row type almost always carries that table's data (a function that returns its
    rows), so each field also counts as the table's own column.
    """
    own = relation.ref.kind != "composite"
    return tuple(
        (
            column.name,
            Value(
                refs | {ColumnRef(relation.oid, column.attnum)} if own else refs,
                False,
                column.type_oid,
            ),
        )
        for column in relation.columns
    )
