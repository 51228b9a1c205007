"""Statements that are not DDL: queries, transactions, settings, cursors, EXPLAIN, COPY."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.errors import NotUnderstood
from gateway.sql import settings
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.facts import CopyForm, CopyKind, TxnKind
from gateway.sql.query import columns_of
from gateway.sql.scope import Scope
from gateway.sql.values import Column


@dataclass(slots=True)
class Draft:
    """What a statement handler says beyond what the walk collected."""

    kind: str
    columns: tuple[Column, ...] | None = None
    txn: TxnKind = ""
    ddl: bool = False
    copy: CopyKind = ""
    copy_form: CopyForm | None = None
    deallocate: str | None = None
    shows: str | None = None
    sets: tuple[str, str] | None = None
    setting: tuple[str, str | None] | None = None
    cursor: str | None = None


StatementWalk = Callable[[Walk, Node], Draft]
QUERY_KINDS: Final = {
    "SelectStmt": "select",
    "InsertStmt": "insert",
    "UpdateStmt": "update",
    "DeleteStmt": "delete",
    "MergeStmt": "merge",
}


def query(walk: Walk, node: Node) -> Draft:
    """Analyse SELECT, INSERT, UPDATE, DELETE or MERGE at the top of a statement."""
    ((kind, body),) = node.items()
    columns = columns_of(walk, Scope(), node)
    returns_rows = kind == "SelectStmt" or "returningClause" in body
    return Draft(QUERY_KINDS[kind], columns if returns_rows else None)


# -- transactions ---------------------------------------------------------------------------

_TXN: Final[dict[str, tuple[TxnKind, str]]] = {
    "TRANS_STMT_BEGIN": ("begin", "txn.begin"),
    "TRANS_STMT_START": ("begin", "txn.begin"),
    "TRANS_STMT_COMMIT": ("commit", "txn.commit"),
    "TRANS_STMT_ROLLBACK": ("rollback", "txn.rollback"),
    "TRANS_STMT_SAVEPOINT": ("savepoint", "txn.savepoint"),
    "TRANS_STMT_RELEASE": ("release", "txn.savepoint"),
    "TRANS_STMT_ROLLBACK_TO": ("rollback_to", "txn.savepoint"),
    "TRANS_STMT_PREPARE": ("prepare", "txn.prepare"),
    "TRANS_STMT_COMMIT_PREPARED": ("", "txn.prepare"),
    "TRANS_STMT_ROLLBACK_PREPARED": ("", "txn.prepare"),
}


def transaction(walk: Walk, node: Node) -> Draft:
    """Analyse BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their relatives."""
    check_fields(
        "transaction control",
        node,
        frozenset("kind options savepoint_name gid chain location".split()),
    )
    kind, effect = _TXN.get(node.get("kind", "TRANS_STMT_BEGIN"), ("", "unknown"))
    walk.by_text()
    walk.effect(effect)
    for option in node.get("options", ()):
        _transaction_mode(walk, option["DefElem"])
    return Draft("transaction", txn=kind)


def _transaction_mode(walk: Walk, option: Node) -> None:
    name = option["defname"]
    if name not in ("transaction_isolation", "transaction_read_only", "transaction_deferrable"):
        refuse("a transaction mode is not analysed")
    if name == "transaction_read_only":
        constant = option.get("arg", {}).get("A_Const", {})
        if constant.get("ival", {}).get("ival") != 1:
            walk.effect("txn.read_write", name=name)


# -- settings -------------------------------------------------------------------------------

_SET: Final = frozenset("kind name args jumble_args is_local location".split())
_ROLE_SETTINGS: Final = frozenset({"role", "session_authorization"})
POSTERN_PREFIX: Final = "postern."


def set_variable(walk: Walk, node: Node) -> Draft:
    """Analyse SET, SET LOCAL, SET TRANSACTION, RESET."""
    check_fields("SET", node, _SET)
    walk.by_text()
    kind = node.get("kind", "VAR_SET_VALUE")
    name = node.get("name", "").lower()
    is_local = bool(node.get("is_local"))
    if kind == "VAR_RESET_ALL":
        walk.effect("session.reset", name="all")
        walk.resets_settings = True
        return Draft("reset", setting=("", None))
    if kind == "VAR_SET_MULTI":
        return _set_transaction(walk, name, node)
    if name in _ROLE_SETTINGS:
        walk.effect("session.role", name=name)
        return Draft("set")
    value = _set_value(node.get("args", [])) if kind == "VAR_SET_VALUE" else None
    if name.startswith(POSTERN_PREFIX):
        return _set_postern(walk, kind, name, value)
    _setting_effect(walk, kind, name, value)
    if is_local or name in settings.TRANSACTION:
        return Draft("reset" if kind == "VAR_RESET" else "set")
    if kind in ("VAR_RESET", "VAR_SET_DEFAULT"):
        return Draft("reset" if kind == "VAR_RESET" else "set", setting=(name, None))
    if value is not None and _is_plain(node["args"]) and settings.is_safe(name, value):
        return Draft("set", setting=(name, value))
    # What cannot be said again on another server connection keeps this one.
    walk.pin = "settings"
    return Draft("set")


def _setting_effect(walk: Walk, kind: str, name: str, value: str | None) -> None:
    if name in settings.READ_ONLY:
        if value is None or not settings.is_true(value):
            walk.effect("txn.read_write", name=name)
        else:
            walk.effect("session.safe_set", name=name)
        return
    if kind in ("VAR_RESET", "VAR_SET_DEFAULT"):
        safe = name in settings.SAFE
    elif kind == "VAR_SET_VALUE" and value is not None:
        safe = settings.is_safe(name, value)
    else:
        safe = False
    walk.effect("session.safe_set" if safe else "session.set", name=name)


def _set_postern(walk: Walk, kind: str, name: str, value: str | None) -> Draft:
    if kind not in ("VAR_SET_VALUE", "VAR_RESET", "VAR_SET_DEFAULT"):
        refuse("a form of SET is not analysed")
    walk.effect("session.safe_set", name=name)
    return Draft("set", sets=(name, value or ""))


def _set_value(args: list[Node]) -> str | None:
    """Return the text of SET's value list, None when it is not plain constants."""
    texts = []
    for arg in args:
        if "TypeCast" in arg:
            arg = arg["TypeCast"]["arg"]
        constant = arg.get("A_Const")
        if constant is None:
            return None
        if "sval" in constant:
            texts.append(constant["sval"].get("sval", ""))
        elif "ival" in constant:
            texts.append(str(constant["ival"].get("ival", 0)))
        elif "fval" in constant:
            texts.append(constant["fval"]["fval"])
        elif "boolval" in constant:
            texts.append("on" if constant["boolval"].get("boolval") else "off")
        else:
            return None
    return ", ".join(texts)


def _is_plain(args: list[Node]) -> bool:
    """Whether the list reads the same as one string: a cast, as of an interval, does not."""
    return all("A_Const" in arg for arg in args)


def _set_transaction(walk: Walk, name: str, node: Node) -> Draft:
    if name == "transaction snapshot":
        walk.effect("session.set", name=name)
        return Draft("set")
    if name not in ("transaction", "session characteristics"):
        refuse("a form of SET is not analysed")
    walk.effect("session.safe_set", name=name)
    for option in node.get("args", ()):
        _transaction_mode(walk, option["DefElem"])
    if name != "transaction":
        walk.pin = "settings"
    return Draft("set")


def show_variable(walk: Walk, node: Node) -> Draft:
    """Analyse SHOW."""
    check_fields("SHOW", node, frozenset({"name"}))
    walk.by_text()
    name = node["name"].lower()
    if name.startswith(POSTERN_PREFIX):
        walk.effect("session.show", name=name)
        return Draft("show", shows=name)
    readable = name in settings.READABLE
    walk.effect("session.show" if readable else "catalog.sensitive", name=name)
    return Draft("show")


def discard(walk: Walk, node: Node) -> Draft:
    """Analyse DISCARD."""
    walk.by_text()
    mode = node.get("target", "DISCARD_ALL")
    walk.effect("session.reset", name=mode.lower())
    if mode == "DISCARD_ALL":
        walk.resets_settings = True
        return Draft("discard", deallocate="*")
    return Draft("discard")


def deallocate(walk: Walk, node: Node) -> Draft:
    """Analyse DEALLOCATE."""
    walk.by_text()
    walk.effect("session.reset", name="prepared")
    return Draft("deallocate", deallocate="*" if node.get("isall") else node["name"])


def prepare(_walk: Walk, _node: Node) -> Draft:
    """Refuse PREPARE and EXECUTE: the verdict would have to follow a name across statements."""
    raise NotUnderstood(
        "SQL-level PREPARE and EXECUTE are not analysed",
        hint="Use the protocol's own prepared statements, as drivers do.",
    )


def set_constraints(walk: Walk, _node: Node) -> Draft:
    """Analyse SET CONSTRAINTS: it only moves checks within the transaction."""
    walk.by_text()
    walk.effect("session.safe_set", name="constraints")
    return Draft("set")


# -- LISTEN, cursors ------------------------------------------------------------------------


def listen(walk: Walk, node: Node) -> Draft:
    """Analyse LISTEN."""
    walk.by_text()
    walk.effect("session.listen", name=node["conditionname"])
    walk.pin = "listen"
    return Draft("listen")


def unlisten(walk: Walk, node: Node) -> Draft:
    """Analyse UNLISTEN."""
    walk.by_text()
    walk.effect("session.unlisten", name=node.get("conditionname", "*"))
    return Draft("unlisten")


def notify(walk: Walk, node: Node) -> Draft:
    """Analyse NOTIFY: its payload reaches other sessions."""
    walk.by_text()
    walk.effect("session.notify", name=node["conditionname"])
    return Draft("notify")


_CURSOR_HOLD: Final = 0x20


def declare_cursor(walk: Walk, node: Node) -> Draft:
    """Analyse DECLARE CURSOR. Its columns are those that FETCH will return."""
    check_fields("DECLARE", node, frozenset({"portalname", "options", "query"}))
    walk.by_text()
    if "SelectStmt" not in node["query"]:
        refuse("DECLARE CURSOR takes a SELECT only")
    columns = columns_of(walk, Scope(), node["query"])
    walk.effect("session.cursor", name=node["portalname"])
    if node.get("options", 0) & _CURSOR_HOLD:
        walk.pin = "cursor"
    return Draft("declare", columns, cursor=node["portalname"])


def fetch(walk: Walk, node: Node) -> Draft:
    """Analyse FETCH and MOVE: the rows are those of a cursor whose query was decided."""
    check_fields(
        "FETCH",
        node,
        frozenset("direction howMany portalname ismove direction_keyword location".split()),
    )
    walk.by_text()
    walk.effect("session.cursor", name=node["portalname"])
    return Draft("move" if node.get("ismove") else "fetch", cursor=node["portalname"])


def close_cursor(walk: Walk, node: Node) -> Draft:
    """Analyse CLOSE."""
    walk.by_text()
    name = node.get("portalname", "*")
    walk.effect("session.cursor", name=name)
    return Draft("close", cursor=name)


# -- EXPLAIN --------------------------------------------------------------------------------

_EXPLAIN_OPTIONS: Final = frozenset(
    "analyze verbose costs settings generic_plan buffers serialize wal timing summary memory "
    "format".split()
)


def explain(walk: Walk, node: Node) -> Draft:
    """Analyse EXPLAIN: the effects of the inner statement, and its columns shown in a plan."""
    check_fields("EXPLAIN", node, frozenset({"query", "options"}))
    walk.by_text()
    analyze = False
    for entry in node.get("options", ()):
        option = entry["DefElem"]
        if option["defname"] not in _EXPLAIN_OPTIONS:
            refuse("an option of EXPLAIN is not analysed")
        if option["defname"] == "analyze":
            text = option.get("arg", {}).get("String", {}).get("sval", "on")
            # Anything that is not plainly off counts as on.
            analyze = analyze or text.lower() not in ("off", "false", "0")
    inner = node["query"]
    if next(iter(inner)) not in QUERY_KINDS:
        refuse("EXPLAIN of this statement is not analysed")
    columns_of(walk, Scope(), inner)
    walk.use(walk.reads, "explain")
    walk.effect("explain.analyze" if analyze else "explain.plain")
    return Draft("explain")


HANDLERS: Final[dict[str, StatementWalk]] = {
    "TransactionStmt": transaction,
    "VariableSetStmt": set_variable,
    "VariableShowStmt": show_variable,
    "DiscardStmt": discard,
    "DeallocateStmt": deallocate,
    "PrepareStmt": prepare,
    "ExecuteStmt": prepare,
    "ConstraintsSetStmt": set_constraints,
    "ListenStmt": listen,
    "UnlistenStmt": unlisten,
    "NotifyStmt": notify,
    "DeclareCursorStmt": declare_cursor,
    "FetchStmt": fetch,
    "ClosePortalStmt": close_cursor,
    "ExplainStmt": explain,
}
