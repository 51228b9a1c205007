"""What a held statement would do, asked of its database before a person decides.

Runs as the role the statement would run as, in a read-only transaction with time-outs, and never
executes the statement, unless its guard says `dry_run_count`: then it runs once inside a
transaction that is rolled back. What such a run does outside the transaction (a sequence that
moves on, a trigger that calls elsewhere) stays done, which is why a guard has to ask for it.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.errors import ConfigError, UpstreamError
from gateway.policy.principal import Principal
from gateway.sql.catalog import Catalog, Relation
from gateway.upstream.ask import Asker, ServerRefused, Value
from gateway.upstream.dial import dial
from gateway.upstream.logins import resolve_login
from gateway.upstream.startup import Level, build_role_setup, build_server_startup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.config import Target
    from gateway.policy.engine import Engine

DIAL_S: Final = 3.0
PLAN_MS: Final = 2_000
LOCK_MS: Final = 300
TOTAL_S: Final = 8.0
AT_ONCE_MAX: Final = 2
NODES_MAX: Final = 60
LINES_MAX: Final = 60

_WRITES: Final = {
    "rows.insert": 4,
    "rows.delete": 8,
    "rows.update": 16,
}  # bits of pg_trigger.tgtype
_ACTS: Final = {
    "c": "its rows are {verb} with them",
    "n": "its rows are set to NULL",
    "d": "its rows are set to defaults",
}
# pg_catalog and operators by name: the target's search_path is not ours.
_TRIGGERS: Final = """
select c.relname::pg_catalog.text, t.tgname::pg_catalog.text, t.tgtype::pg_catalog.text,
       n.nspname || '.' || p.proname
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) t.tgrelid
join pg_catalog.pg_proc p on p.oid operator(pg_catalog.=) t.tgfoid
join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
where not t.tgisinternal and t.tgenabled operator(pg_catalog.<>) 'D'
  and t.tgrelid operator(pg_catalog.=) any ($1::pg_catalog.text::pg_catalog.oid[])
order by 1, 2 limit 60
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One preview, as the control process asks for it."""

    principal: Principal
    target: str
    requested: str
    level: Level
    sql: bytes
    values: tuple[Value, ...]
    objects: tuple[str, ...]
    effects: frozenset[str]
    dry_run: bool

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Wanted:
        """Rebuild what the control process sent; raises KeyError or ValueError."""
        level = wire["role"]
        return cls(
            principal=Principal.from_wire(wire["principal"]),
            target=wire["target"],
            requested="",
            level=level if level in {"read", "write", "admin"} else "read",
            sql=wire["sql"].encode(),
            values=tuple(
                (oid, form, None if text is None else base64.b64decode(text))
                for oid, form, text in wire["params"]
            ),
            objects=tuple(wire["objects"]),
            effects=frozenset(wire["effects"]),
            dry_run=wire["dry_run"] is True,
        )


class Previewer:
    """Answers what statements would do; a few at a time."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    async def preview(self, wanted: Wanted, engine: Engine) -> dict[str, Any]:
        """Return the preview as plain data; what cannot be told is said in `problem`."""
        found: dict[str, Any] = {
            "plan": [], "rows": None, "counted": False, "problem": "", "triggers": [],
            "cascades": [], "masks": [],
        }  # fmt: skip
        catalog, target = engine.catalog(wanted.target), self._targets.get(wanted.target)
        if catalog is None or target is None:
            return found | {"problem": "the database's catalog is not at hand"}
        relations = list(_relations(wanted, catalog))
        found["cascades"] = _cascades(wanted, relations, catalog)
        found["masks"] = _masks(wanted, relations, engine)
        try:
            async with self._turns, asyncio.timeout(TOTAL_S), _connect(target, wanted) as asker:
                found["triggers"] = await _triggers(wanted, relations, asker)
                await self._plan(wanted, target, asker, found)
                if wanted.dry_run and not found["problem"]:
                    await self._dry_run(wanted, target, asker, found)
        except (UpstreamError, ConfigError, OSError, TimeoutError) as error:
            found["problem"] = found["problem"] or _problem(error)
        return found

    async def _plan(
        self, wanted: Wanted, target: Target, asker: Asker, found: dict[str, Any]
    ) -> None:
        if not any(effect.startswith("rows.") for effect in wanted.effects):
            found["problem"] = "this kind of statement has no plan"
            return
        async with _transaction(asker, target, wanted.level, "READ ONLY"):
            try:
                answer = await asker.ask(b"EXPLAIN (FORMAT JSON) " + wanted.sql, wanted.values)
            except ServerRefused as error:
                found["problem"] = _problem(error)
                return
        text = "".join(row[0] or "" for row in answer.rows)
        try:
            root = orjson.loads(text)[0]["Plan"]
            found["plan"] = list(_nodes(root, 0))[:NODES_MAX]
            found["rows"] = _rows(root)
        except (ValueError, LookupError, TypeError):
            found["problem"] = "the plan could not be read"

    async def _dry_run(
        self, wanted: Wanted, target: Target, asker: Asker, found: dict[str, Any]
    ) -> None:
        if any(not effect.startswith("rows.") for effect in wanted.effects):
            found["problem"] = "not counted: it does more than read and write rows"
            return
        async with _transaction(asker, target, wanted.level, "READ WRITE"):
            try:
                answer = await asker.ask(wanted.sql, wanted.values)
            except ServerRefused as error:
                found["problem"] = f"not counted: {_problem(error)}"
                return
        if answer.affected >= 0:
            found["rows"], found["counted"] = answer.affected, True


@asynccontextmanager
async def _connect(target: Target, wanted: Wanted) -> AsyncIterator[Asker]:
    target, secret = await asyncio.to_thread(resolve_login, target, os.environ)
    startup = build_server_startup(target, wanted.level) | {"application_name": "postern preview"}
    asker = Asker(await dial(target, secret, startup, timeout_s=DIAL_S))
    try:
        yield asker
    finally:
        asker.close()


@asynccontextmanager
async def _transaction(
    asker: Asker, target: Target, level: Level, mode: str
) -> AsyncIterator[None]:
    """A transaction that never commits, as the role of `level`, impatient with locks."""
    await asker.run(
        f"BEGIN {mode}",
        f"SET LOCAL statement_timeout = {PLAN_MS}",
        f"SET LOCAL lock_timeout = {LOCK_MS}",
        f"SET LOCAL idle_in_transaction_session_timeout = {2 * PLAN_MS}",
    )
    role = build_role_setup(target, level).decode()
    if role:
        await asker.run(role.replace("SET ROLE", "SET LOCAL ROLE", 1))
    try:
        yield
    finally:
        await asker.run("ROLLBACK")


def _relations(wanted: Wanted, catalog: Catalog) -> Iterator[Relation]:
    for name in wanted.objects:
        schema, _, relation = name.partition(".")
        if (found := catalog.relations.get((schema, relation))) is not None:
            yield found


def _cascades(wanted: Wanted, relations: Sequence[Relation], catalog: Catalog) -> list[str]:
    """Name the tables whose rows follow when rows here are deleted or their keys change."""
    lines: dict[str, None] = {}
    for relation in relations:
        for tie in catalog.ties.get(relation.oid, ()):
            if tie.kind != "referenced":
                continue
            children = {catalog.relation_ref(ref.relation_oid) for ref in tie.shows}
            names = sorted(
                f"{ref.schema}.{ref.name}" for ref in children if ref.oid != relation.oid
            )
            acts = []
            if "rows.delete" in wanted.effects and tie.on_delete in _ACTS:
                acts.append(_ACTS[tie.on_delete].format(verb="deleted"))
            if "rows.update" in wanted.effects and tie.on_update in _ACTS:
                acts.append(_ACTS[tie.on_update].format(verb="updated") + ", if the key changes")
            for name in names:
                lines.update((f"{name} refers to {relation.ref.name}: {act}", None) for act in acts)
    return list(lines)[:LINES_MAX]


def _masks(wanted: Wanted, relations: Sequence[Relation], engine: Engine) -> list[str]:
    """Name the columns of the statement's tables that the requester never sees unmasked."""
    rights = engine.rights(wanted.principal, wanted.target, wanted.requested)
    if rights is None:
        return []
    return [
        f"{relation.ref.schema}.{relation.ref.name}.{column} ({mask})"
        for relation in relations
        for column, mask in sorted(rights.masked_names.get(relation.oid, {}).items())
    ][:LINES_MAX]


async def _triggers(wanted: Wanted, relations: Sequence[Relation], asker: Asker) -> list[str]:
    bits = sum(bit for effect, bit in _WRITES.items() if effect in wanted.effects)
    oids = ",".join(str(relation.oid) for relation in relations if relation.has_triggers)
    if not bits or not oids:
        return []
    answer = await asker.ask(_TRIGGERS.encode(), [(25, 0, f"{{{oids}}}".encode())])
    return [
        f"{table}: trigger {name} runs {function}()"
        for table, name, kind, function in answer.rows
        if int(kind or 0) & bits
    ]


def _nodes(plan: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """One line per node: what a person looks for in a plan, and its depth."""
    names = ("Filter", "Index Cond", "Hash Cond", "Join Filter", "Recheck Cond", "TID Cond")
    operation = plan.get("Operation")
    relation = ".".join(str(plan[key]) for key in ("Schema", "Relation Name") if key in plan)
    yield {
        "depth": depth,
        "node": str(operation or plan["Node Type"]),
        "relation": relation,
        "index": str(plan.get("Index Name", "")),
        "rows": int(plan.get("Plan Rows", 0)),
        "cost": float(plan.get("Total Cost", 0)),
        "conditions": [f"{name}: {plan[name]}" for name in names if name in plan],
    }
    for child in plan.get("Plans", ()):
        yield from _nodes(child, depth + 1)


def _rows(root: Mapping[str, Any]) -> int:
    """The planner's estimate of rows touched: a write says 0 itself, what feeds it knows."""
    if root.get("Node Type") == "ModifyTable":
        # Sub-plans are CTEs and the like; they feed nothing into the table.
        sources = [p for p in root.get("Plans", ()) if p.get("Parent Relationship") == "Outer"]
        return sum(int(source.get("Plan Rows", 0)) for source in sources)
    return int(root.get("Plan Rows", 0))


def _problem(error: BaseException) -> str:
    if isinstance(error, ServerRefused):
        if error.sqlstate == "57014":
            return "the database took too long to answer"
        if error.sqlstate == "55P03":
            return "the table was locked by somebody else"
        # The text can hold values; the code says enough.
        return f"the database answered {error.sqlstate}"
    if isinstance(error, TimeoutError):
        return "the database took too long to answer"
    return "the database could not be asked"
