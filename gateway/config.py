"""The configuration: one frozen tree, checked as a whole before anything starts.

Order: defaults < file < environment < flag. A value that cannot be used is a `ConfigError`
naming the place it was written. Secrets are never here, only where to find them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from gateway import config_values as kinds
from gateway import limits
from gateway.config_build import Builder, Resolved
from gateway.config_credential import Credential
from gateway.config_issuers import ALGORITHMS, Issuer, check_issuer
from gateway.config_source import Sources
from gateway.config_targets import Roles, Target, check_target, with_socket
from gateway.config_values import check_public_url, is_loopback, named_sections, section, setting

__all__ = [
    "ALGORITHMS",
    "Audit",
    "Config",
    "Connectors",
    "Control",
    "Credential",
    "Issuer",
    "Listen",
    "Pool",
    "Roles",
    "Sessions",
    "Store",
    "Target",
    "Workers",
    "load_config",
    "load_settings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where clients connect."""

    postgres: tuple[str, ...] = setting(
        kinds.addresses(),
        "Addresses or absolute socket paths that speak the PostgreSQL protocol.",
        default="127.0.0.1:6433",
    )
    tls_cert: Path | None = setting(
        kinds.optional_path(), "Certificate chain in PEM for client connections.", default=""
    )
    tls_key: Path | None = setting(
        kinds.optional_path(), "Private key in PEM that belongs to `tls_cert`.", default=""
    )
    tls_client_ca: Path | None = setting(
        kinds.optional_path(), "Authorities in PEM of client certificates (`cnf`).", default=""
    )
    require_tls: bool = setting(
        kinds.boolean(),
        "Refuse logins without TLS, except from loopback and Unix sockets.",
        default=True,
    )
    proxy_protocol: tuple[kinds.Network, ...] = setting(
        kinds.networks(),
        "Networks of load balancers: a connection from there must begin with a PROXY header, "
        "version 2, and counts as its client's.",
        default=[],
    )
    auth: str = setting(
        kinds.choice("password", "oauth"),
        "How clients present a token that do not say: as the password, or by SASL OAUTHBEARER "
        "(libpq 18). A client says it by `-c postern.auth=oauth` in its `options`.",
        default="password",
    )
    oauth_issuer: str | None = setting(
        kinds.optional_string(),
        "Id of the issuer that OAUTHBEARER clients get their tokens from; empty means the first "
        "of kind oidc.",
        default="",
    )
    oauth_scope: str = setting(
        kinds.string(empty=False),
        "Scope that OAUTHBEARER clients ask the issuer for.",
        default="openid",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many processes share the work."""

    count: int = setting(
        kinds.integer(1, limits.WORKERS_MAX, auto=limits.usable_cpus),
        "Data-plane processes; `auto` is the CPUs this process may use, by affinity and cgroup.",
        default="auto",
    )
    analyzers: int = setting(
        kinds.integer(1, limits.ANALYZERS_MAX),
        "Processes that parse and judge statements.",
        default=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How server connections are shared."""

    mode: str = setting(
        kinds.choice("transaction"),
        "A server connection returns to the pool after each transaction; session state pins it.",
        default="transaction",
    )
    size: int = setting(
        kinds.integer(1, limits.POOL_SIZE_MAX),
        "Server connections per worker, target and role.",
        default=20,
    )
    total: int = setting(
        kinds.integer(0, limits.POOL_TOTAL_MAX),
        "Server connections of all workers together, per target and role; each worker has an "
        "equal share of it. 0 means `size` for every worker.",
        default=0,
    )
    wait_s: float = setting(
        kinds.duration(0.0, limits.POOL_WAIT_S_MAX),
        "How long a statement waits for a server connection before PN106.",
        default="10s",
        key="wait",
    )

    def size_of(self, workers: int) -> int:
        """Return how many connections one of `workers` may have, per target and role."""
        return min(self.size, self.total // workers) if self.total else self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """How long a client may stay. A session never outlives its token."""

    idle_s: float = setting(
        kinds.duration(1.0, limits.SESSION_IDLE_S_MAX),
        "A session without a statement for this long is ended (PN203).",
        default="4h",
        key="idle",
    )
    age_s: float = setting(
        kinds.duration(1.0, limits.SESSION_AGE_S_MAX),
        "A session is ended this long after its login (PN203).",
        default="24h",
        key="age",
    )
    per_identity: int = setting(
        kinds.integer(1, limits.SESSIONS_PER_WORKER_MAX),
        "Sessions of one identity in each worker; the next login is refused (PN106), so that one "
        "identity cannot take every place. Policies may limit more closely.",
        default=2_000,
    )
    idle_in_transaction_s: float = setting(
        kinds.duration(0.0, limits.SESSION_IDLE_S_MAX),
        "A session without a statement for this long inside a transaction is ended (PN203): it "
        "holds a server connection, and locks. 0 means never.",
        default="10m",
        key="idle_in_transaction",
    )
    slow_reader_s: float = setting(
        kinds.duration(0.0, limits.SESSION_IDLE_S_MAX),
        "A session whose client takes no byte of its results for this long is ended: it holds a "
        "server connection. 0 means never.",
        default="10m",
        key="slow_reader",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The HTTP API and who may use it."""

    listen: str = setting(
        kinds.address(),
        "Address of the HTTP API and approvals page. It speaks plain HTTP: keep it on loopback "
        "or behind a proxy that adds TLS.",
        default="127.0.0.1:8433",
    )
    public_url: str = setting(
        kinds.url("https", "http"),
        "Address at which browsers reach `listen`, such as https://postern.example.com; needed for "
        "web logins. With https, cookies are for TLS only; http is for loopback.",
        default="",
    )
    reviewers: tuple[str, ...] = setting(
        kinds.strings(), "Policy groups that may decide approvals.", default=[]
    )
    admins: tuple[str, ...] = setting(
        kinds.strings(), "Policy groups that may administer the gateway.", default=[]
    )
    auditors: tuple[str, ...] = setting(
        kinds.strings(), "Policy groups that may read the audit trail.", default=[]
    )
    policy_quorum: int = setting(
        kinds.integer(1, limits.POLICY_QUORUM_MAX),
        "How many admins must say yes on the policy page before a running gateway takes over "
        "changed policy files. With more than one, a reload by signal takes only what they agreed "
        "on.",
        default=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectors:
    """Where connectors dial in, the programs that hold a database's credential beside it."""

    listen: str | None = setting(
        kinds.optional_address(),
        "Address that connectors dial, inside TLS with certificates of the gateway's own "
        "authority; empty means none may.",
        default="",
    )
    key_age_s: float = setting(
        kinds.duration(600.0, limits.CONNECTOR_KEY_S_MAX),
        "How long a connector's key is good; it takes a new one after two thirds of it.",
        default="30d",
        key="key_age",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where approvals, sessions and activations are kept."""

    url: str = setting(
        kinds.url("postgresql"),
        "Empty: SQLite in `data_dir`, the only store of this version.",
        default="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """How much an audit record must survive before its statement runs."""

    durability: str = setting(
        kinds.choice("journal", "group"),
        "`journal`: records survive the loss of any process; they are on disk some milliseconds "
        "later. `group`: a statement is forwarded once its intent is on the disk, and so survives "
        "the loss of the host; it waits for a flush that all waiting statements share.",
        default="journal",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an operator sets."""

    data_dir: Path = setting(
        kinds.path(), "Directory for all state: journals, audit trail, store.",
        default="postern-data",
    )  # fmt: skip
    policies: Path = setting(kinds.path(), "Directory of policy files.", default="policies")
    listen: Listen = section(Listen, "Client connections.")
    workers: Workers = section(Workers, "Processes.")
    pool: Pool = section(Pool, "Server connections.")
    sessions: Sessions = section(Sessions, "How long clients may stay.")
    control: Control = section(Control, "HTTP API, approvals page, roles of people.")
    targets: Mapping[str, Target] = named_sections(
        Target, "Databases, one table per name; clients give the name as `database`.", dict
    )
    issuers: tuple[Issuer, ...] = named_sections(
        Issuer, "Token issuers, one `[[issuers]]` table each, named by `id`.", tuple
    )
    store: Store = section(Store, "Approvals, sessions and activations.")
    audit: Audit = section(Audit, "The audit trail.")
    connectors: Connectors = section(Connectors, "Connectors beside databases.")


def load_config(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration in force; raises ConfigError naming the place of the defect.

    Relative paths start at the file's directory; from the environment and flags, at the
    working directory.
    """
    return load_settings(path, environ, overrides)[0]


def load_settings(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> tuple[Config, Sequence[Resolved]]:
    """Return the configuration and, for each setting, its value and source."""
    sources = Sources(Config)
    cwd = Path.cwd()
    if path is not None:
        sources.add_file(path)
    sources.add_environment(environ, cwd)
    sources.add_overrides(overrides or {}, cwd)
    builder = Builder(sources, cwd if path is None else path.resolve().parent)
    config = cast("Any", builder.build(Config))
    _check(config, builder, sources)
    targets = {one.name: with_socket(one, config.data_dir) for one in config.targets.values()}
    return replace(config, targets=targets), builder.resolved


def _check(config: Config, builder: Builder, sources: Sources) -> None:
    listen = config.listen
    if (listen.tls_cert is None) != (listen.tls_key is None):
        given, absent = ("cert", "key") if listen.tls_cert else ("key", "cert")
        raise builder.error(("listen", f"tls_{given}"), f"tls_{absent} must be set as well")
    exposed = [item for item in listen.postgres if not is_loopback(item)]
    if exposed and listen.require_tls and listen.tls_cert is None:
        message = f"{exposed[0]} is not loopback: set tls_cert and tls_key"
        raise builder.error(("listen", "postgres"), message)
    if listen.oauth_issuer and listen.oauth_issuer not in {i.id for i in config.issuers}:
        raise builder.error(("listen", "oauth_issuer"), "there is no issuer with this id")
    problem = check_public_url(config.control.public_url)
    if problem:
        raise builder.error(("control", "public_url"), problem)
    if config.store.url:
        message = "only the embedded store is available; leave it empty"
        raise builder.error(("store", "url"), message)
    if 0 < config.pool.total < config.workers.count:
        message = f"less than one connection for each of {config.workers.count} workers"
        raise builder.error(("pool", "total"), message)
    if len(config.targets) > limits.TARGETS_MAX:
        raise builder.error(("targets",), f"more than {limits.TARGETS_MAX}")
    if len(config.issuers) > limits.ISSUERS_MAX:
        raise builder.error(("issuers",), f"more than {limits.ISSUERS_MAX}")
    for target in config.targets.values():
        check_target(target, builder, sources)
        if target.connector and not config.connectors.listen:
            where = ("targets", target.name, "connector")
            raise builder.error(where, "connectors.listen is not set, so none can dial in")
    for issuer in config.issuers:
        check_issuer(issuer, config, builder)
