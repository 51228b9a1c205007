"""Two worlds that differ in nothing but secrets, and one gateway in front of both.

A statement leaks when its answers differ between the worlds, whatever the way: values, rows,
order, counts, errors, tags. So a case needs no expected answer: direct answers must differ, or it
is no attack; answers through the gateway must be equal, or it is a leak.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.demo.postgres import Cluster, find_postgres
from tests.support import wireclient
from tests.support.gateway import GatewayProcess
from tests.support.sample import ROLES
from tests.support.wireclient import Message, WireClient

WORLDS = ("orders", "orders_b")
# What is secret, per world. No value of one shares four characters with anything else.
SECRETS = {
    "orders": ("xq7vkw@mzjh.example", "583-61-9274", "qjzkx-parent", "73194"),
    "orders_b": ("wybgo@lurfd.example", "206-84-7513", "ybvwf-parent", "84026"),
}
MODES = ("simple-text", "extended-text", "extended-binary", "described")
TABLES = (Path(__file__).parents[1] / "unit" / "sql" / "schema.sql").read_text()

EXTRA = """
alter table sales.customers alter created set default '2026-01-05';
create table sales.contacts (id int primary key, mail text unique);
create table sales.logins (id int primary key, mail text references sales.contacts (mail));
create table sales.pairs (id int primary key, label text, pin int, unique (label, pin));
create table sales.holders (id int primary key, owner text unique);
create table sales.notes (id int primary key, owner text references sales.holders (owner));
create table sales.docs (id int primary key, body jsonb, tags text[], pin int, due date,
    flag boolean, score double precision, half int generated always as (pin / 2) stored);
create materialized view sales.m_docs as select id, pin, due from sales.docs;
create view sales.v_secure with (security_barrier) as select id, email from sales.customers;
create table sales.plain (id int primary key, word text, amount int);
"""

DATA = """
insert into sales.customers values
    (2, 'Ben', '{email}', '{ssn}', '{{a}}', row('Side St', 'Thun'), '2026-01-01'),
    (3, 'Cat', 'same@every.world', '111-11-1111', '{{c}}', row('Low St', 'Chur'), '2026-01-02'),
    (4, 'Dan', '{other}', '222-22-2222', '{{d}}', null, '2026-01-03'),
    (5, 'Eve', '{twin}', '333-33-3333', '{{e}}', null, '2026-01-04');
update sales.customers set email = 'first-{email}', ssn = '{ssn}' where id = 1;
insert into sales.orders (customer_id, total, note) values (1, 10, 'first'), (2, 20, 'second');
insert into sales.events values (1, '2024-02-02', '{{"k": 1}}');
insert into sales.salaries values (1, {number}), (2, 5);
insert into app.parent values (1, '{parent}');
insert into app.child values (2, 'c-{parent}', 'x');
insert into app.t values (1, 'b', 3); insert into app.u values (1, 'd');
insert into sales.contacts values (1, '{email}'), (2, 'same@every.world');
insert into sales.logins values (1, 'same@every.world');
insert into sales.holders values (1, 'h1'), (2, 'h2');
insert into sales.notes values (1, '{holder}');
insert into sales.pairs values (1, 'one', {number}), (2, 'two', {pair});
insert into sales.docs (id, body, tags, pin, due, flag, score) values
    (1, '{{"k": "{parent}"}}', '{{{parent}}}', {number}, date '2020-01-01' + {day}, {flag}, {number}),
    (2, '{{"k": "v"}}', '{{v}}', 5, '2026-05-05', true, 5);
insert into sales.plain values (1, 'one', 1), (2, 'two', 2), (3, '{email_a}', 3);
analyze;
refresh materialized view sales.m_docs; refresh materialized view sales.m_tot;
"""

RIGHTS = """
grant usage on schema sales, app to pn_read, pn_write, pn_admin;
grant select on all tables in schema sales, app to pn_read;
grant select, insert, update, delete on all tables in schema sales, app to pn_write;
grant all on all tables in schema sales, app to pn_admin;
grant all on schema sales, app to pn_admin;
grant usage on all sequences in schema sales to pn_write, pn_admin;
grant create on database {database} to pn_admin;
alter database {database} set search_path = sales, app;
"""

POLICY = """\
version: 1
mode: enforce
groups:
  readers: {from: ["test:readers"], kind: agent}
  writers: {from: ["test:writers"], kind: agent}
  admins: {from: ["test:admins"], kind: agent}
  trusted: {from: ["test:trusted"], kind: agent}
  dba: {from: ["test:dba"], kind: human}
grants:
TARGETS
masks:
  - {id: email, columns: [sales.customers.email, sales.contacts.mail], except: [trusted],
     with: {kind: constant, value: hidden}}
  - {id: ssn, columns: [sales.customers.ssn], except: [trusted], with: {kind: redact}}
  - {id: secret, columns: [app.parent.secret], except: [trusted], with: {kind: "null"}}
  - {id: pin, columns: [sales.pairs.pin, sales.docs.pin], except: [trusted],
     with: {kind: constant, value: 7}}
  - {id: owner, columns: [sales.notes.owner], except: [trusted], with: {kind: "null"}}
  - {id: docs, columns: [sales.docs.body, sales.docs.tags, sales.docs.due, sales.docs.flag,
     sales.docs.score], except: [trusted], with: {kind: "null"}}
"""


def policy() -> str:
    """The policy, with the same grants on both worlds."""
    lines = []
    levels = (("readers", "read"), ("writers", "write"), ("admins", "admin"))
    for target in WORLDS:
        name = target.replace("_", "-")
        lines += [
            f"  - {{id: {group}-{schema}-{name}, to: [{group}], target: {target}, "
            f"level: {level}, schema: {schema}, tables: ['*'], except_tables: [salaries]}}"
            for group, level in levels
            for schema in ("sales", "app")
        ]
        lines.append(
            f"  - {{id: trusted-{name}, to: [trusted], target: {target}, level: read, "
            "schema: sales}"
        )
    return POLICY.replace("TARGETS", "\n".join(lines))


@dataclass(slots=True)
class Worlds:
    """Both databases, and the gateway before them."""

    cluster: Cluster
    gateway: GatewayProcess
    _clients: dict[tuple[str, str], WireClient] = field(default_factory=dict)

    def client(self, world: str, group: str) -> WireClient:
        """An open session of `group` in `world`."""
        key = world, group
        if key not in self._clients:
            client = WireClient(self.gateway.port, timeout_s=30)
            client.login(self.gateway.mint(f"attacker-{group}", [group]), database=world)
            self._clients[key] = client
        return self._clients[key]

    def drop(self, world: str, group: str) -> None:
        """Forget a session that ended."""
        if (client := self._clients.pop((world, group), None)) is not None:
            client.socket.close()

    def through(self, world: str, group: str, steps: Sequence[str], mode: str) -> list[Message]:
        """The answers to `steps`, each in one transaction that is rolled back."""
        client = self.client(world, group)
        seen = client.ask(wireclient.query("begin"))
        try:
            for step in steps:
                seen += client.ask(*as_messages(step, mode))
            client.ask(wireclient.query("rollback"))
        except (AssertionError, OSError) as error:
            self.drop(world, group)
            # A session that ends tells no more than an error does, if both worlds' end.
            seen.append(("!", type(error).__name__.encode()))
        return seen

    def close(self) -> None:
        """End all sessions."""
        for client in self._clients.values():
            client.socket.close()


def as_messages(sql: str, mode: str) -> list[bytes]:
    """The messages that send `sql` one way."""
    if mode == "simple-text":
        return [wireclient.query(sql)]
    parts = [wireclient.parse(sql)]
    if mode == "described":
        parts.append(wireclient.describe("S", ""))
    parts.append(wireclient.bind(binary=mode == "extended-binary"))
    parts += [wireclient.describe("P", ""), wireclient.execute(), wireclient.SYNC]
    return parts


class Direct(WireClient):
    """A superuser's connection to one world, without the gateway."""

    def __init__(self, cluster: Cluster, world: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(f"{cluster.sockets}/.s.PGSQL.{cluster.port}")
        self._buffer = b""
        self.parameters = {}
        self.key = (0, b"")
        self.send(wireclient.startup({"user": "postgres", "database": world}))
        self.until_ready()
        self.ask(wireclient.query("set statement_timeout = '400ms'"))

    def run(self, steps: Sequence[str]) -> list[Message]:
        """The answers to `steps`, rolled back."""
        seen = self.ask(wireclient.query("begin"))
        for step in steps:
            seen += self.ask(wireclient.query(step))
        self.ask(wireclient.query("rollback"))
        self.ask(wireclient.query("deallocate all"))  # PREPARE outlives its transaction
        return seen


@contextmanager
def two_worlds(bin_dir: Path | None = None) -> Iterator[Worlds]:
    """Yield both worlds: one database is a copy of the other before the secrets go in."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pn-adv-")))
        directory.chmod(0o755)
        # Statistics taken at different moments would make plans differ, and so the order of rows.
        settings = {"autovacuum": "off"}
        cluster = Cluster(bin_dir or find_postgres()[0], directory / "pg", settings=settings)
        cluster.launch()
        stack.callback(cluster.stop)
        first, second = WORLDS
        cluster.run_sql(f"create database {first}")
        cluster.run_sql(ROLES + TABLES + EXTRA, database=first)
        cluster.run_sql(f"create database {second} template {first}")
        for number, world in enumerate(WORLDS):
            email, ssn, parent, amount = SECRETS[world]
            values = {
                "email": email,
                "ssn": ssn,
                "parent": parent,
                "number": amount,
                "pair": (amount, "5")[number],
                "holder": ("h1", "h2")[number],
                "day": 100 + number * 500,
                "flag": ("true", "false")[number],
                "email_a": SECRETS[first][0],
                "other": ("zvqpf@hgchj.example", "kvpfy@gchtu.example.net")[number],
                "twin": ("same@every.world", "aabuq@nsdol.example.org")[number],
            }
            rights = RIGHTS.replace("{database}", world)
            cluster.run_sql(rights + DATA.format(**values), database=world)
        gateway_directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pn-gw-"))
        gateway = GatewayProcess(
            cluster,
            Path(gateway_directory),
            workers=1,
            policy=policy(),
            sections=SECOND_TARGET.format(port=cluster.port),
        )
        worlds = Worlds(cluster, stack.enter_context(gateway))
        stack.callback(worlds.close)
        yield worlds


SECOND_TARGET = """
[targets.orders_b]
host = "127.0.0.1"
port = {port}
tls = "disable"
database = "orders_b"
user = "pn_login"
credential = {{env = "PN_TEST_PASSWORD"}}
roles = {{read = "pn_read", write = "pn_write", admin = "pn_admin"}}
"""
