"""Check before serving that a target's login role is no stronger than it must be.

The server's own privileges are the second lock, and one that must not share the analyser's
bugs: a superuser or a role that reaches files, programs or other roles would leave it open.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg

from gateway.errors import UpstreamError, quote_name
from gateway.limits import DIAL_TIMEOUT_S
from gateway.upstream.dial import dial
from gateway.upstream.startup import build_server_startup
from gateway.upstream.tls import build_target_context

if TYPE_CHECKING:
    from gateway.config import Target

_POWERS = {
    "rolsuper": "superuser",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}

# Everything is schema-qualified, operators too: the server's search_path is not ours.
_ROLE = """
select r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls
from pg_catalog.pg_roles r where r.rolname operator(pg_catalog.=) $1::pg_catalog.name
"""

# Every role that $1 may become or already acts as, directly or through others.
_MEMBERSHIPS = """
select r.rolname::pg_catalog.text as name,
       r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls
from pg_catalog.pg_roles r
where r.rolname operator(pg_catalog.<>) $1::pg_catalog.name
  and pg_catalog.pg_has_role($1::pg_catalog.name, r.oid, 'MEMBER')
order by 1
"""

_LIMITS = """
select pg_catalog.current_setting('max_connections')::pg_catalog.int4 as max_connections,
       pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4
       operator(pg_catalog.+)
       coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::pg_catalog.int4
       as reserved,
       (select r.rolconnlimit from pg_catalog.pg_roles r
        where r.rolname operator(pg_catalog.=) current_user) as role_limit
"""

_POWER_ROLES = frozenset(
    {
        "pg_checkpoint",
        "pg_create_subscription",
        "pg_execute_server_program",
        "pg_maintain",
        "pg_read_all_data",
        "pg_read_server_files",
        "pg_signal_autovacuum_worker",
        "pg_signal_backend",
        "pg_use_reserved_connections",
        "pg_write_all_data",
        "pg_write_server_files",
    }
)


async def check_target(target: Target, secret: bytes) -> list[str]:
    """Return what is wrong with `target` at its server, one line each; empty when nothing is.

    `allow_superuser` accepts the powers found; the caller records that it does.
    """
    where = f"target {target.name!r}"
    try:
        # Our own dialler first: it is what will serve, and its messages name the cause.
        startup = build_server_startup(target, "read")
        link = await dial(target, secret, startup, timeout_s=DIAL_TIMEOUT_S)
        link.transport.abort()
        connection = await _connect(target, secret)
    except UpstreamError as error:
        return [str(error)]
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return [f"{where}: the server cannot be asked for its roles"]
    try:
        problems = await _check_roles(connection, target)
        if not target.allow_superuser:
            problems = await _check_power(connection, target) + problems
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        problems = [f"the check failed: {type(error).__name__}"]
    finally:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.InterfaceError):
            await connection.close(timeout=2)
    return [f"{where}: {problem}" for problem in problems]


async def read_limits(target: Target, secret: bytes) -> dict[str, int]:
    """Return max_connections, reserved and role_limit (-1: none); raises UpstreamError."""
    try:
        connection = await _connect(target, secret)
        try:
            row = await connection.fetchrow(_LIMITS)
        finally:
            connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UpstreamError(f"target {target.name!r}: its limits cannot be asked for") from error
    return dict(row)


async def list_memberships(target: Target, secret: bytes) -> list[str]:
    """Return every role the login role may become; raises UpstreamError."""
    try:
        connection = await _connect(target, secret)
        try:
            return [row["name"] for row in await connection.fetch(_MEMBERSHIPS, target.user)]
        finally:
            connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UpstreamError(f"target {target.name!r}: its roles cannot be listed") from error


async def _connect(target: Target, secret: bytes) -> asyncpg.Connection:
    context = build_target_context(target)
    async with asyncio.timeout(DIAL_TIMEOUT_S):
        return await asyncpg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            database=target.database,
            # Never None: asyncpg would look for a password file of whoever runs us.
            password=secret.decode(errors="surrogateescape"),
            ssl=context or False,
            command_timeout=DIAL_TIMEOUT_S,
            server_settings={"default_transaction_read_only": "on", "search_path": "pg_catalog"},
        )


async def _check_power(connection: asyncpg.Connection, target: Target) -> list[str]:
    login = quote_name(target.user)
    row = await connection.fetchrow(_ROLE, target.user)
    if row is None:
        return [f"login role {login} is not in pg_roles"]
    if row["rolsuper"]:
        return [f"login role {login} is a superuser; give the gateway a role of its own"]
    problems = []
    powers = [label for column, label in _POWERS.items() if row[column]]
    if powers:
        problems.append(f"login role {login} has {', '.join(powers)}")
    for member in await connection.fetch(_MEMBERSHIPS, target.user):
        name = member["name"]
        powers = [label for column, label in _POWERS.items() if member[column]]
        if name in _POWER_ROLES:
            problems.append(f"login role {login} is a member of {name}")
        elif powers:
            problems.append(
                f"login role {login} may become {quote_name(name)}, which has {', '.join(powers)}"
            )
    return problems


async def _check_roles(connection: asyncpg.Connection, target: Target) -> list[str]:
    problems = []
    for level in ("read", "write", "admin"):
        role = getattr(target.roles, level)
        if role is None:
            continue
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL ROLE {quote_name(role)}")
        except asyncpg.PostgresError as error:
            problems.append(f"role {quote_name(role)} for {level} cannot be set ({error.sqlstate})")
    return problems
