from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gateway.config import Config, Credential, load_config, load_settings
from gateway.config_source import known_settings, read_file
from gateway.errors import ConfigError
from gateway.limits import usable_cpus

TARGET = """
[targets.orders]
host = "db"
database = "orders"
user = "postern"
"""
ISSUER = """
[[issuers]]
id = "corp"
issuer = "https://idp.example.com"
"""
FULL = f"""
data_dir = "state"
policies = "/etc/postern/policies"
[listen]
postgres = ["127.0.0.1:6433", "[::1]:6433", "/run/postern/.s.PGSQL.5432"]
[workers]
count = 3
[pool]
wait = "2s"
[control]
reviewers = ["dba-oncall"]
{TARGET}
credential = {{env = "ORDERS_PASSWORD"}}
roles = {{read = "pn_read"}}
{ISSUER}
groups = {{claim = "realm.roles"}}
required_claims = {{tid = "t-1"}}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "postern.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    config = load_config(None, {})
    assert config.listen.postgres == ("127.0.0.1:6433",)
    assert config.workers.count == usable_cpus()
    assert config.pool.wait_s == 10.0
    assert config.data_dir == Path.cwd() / "postern-data"
    assert (dict(config.targets), config.issuers) == ({}, ())


def test_dataclass_defaults_are_the_documented_ones() -> None:
    """A Config built in code must not differ from one built from an empty file."""
    built = Config(data_dir=Path.cwd() / "postern-data", policies=Path.cwd() / "policies")
    loaded = load_config(None, {})
    for item in dataclasses.fields(Config):
        mine, theirs = getattr(built, item.name), getattr(loaded, item.name)
        assert mine == theirs or (not mine and not theirs), item.name


def test_a_full_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, FULL), {})
    assert config.data_dir == tmp_path / "state"
    assert config.policies == Path("/etc/postern/policies")
    assert len(config.listen.postgres) == 3
    target = config.targets["orders"]
    assert target.credential == Credential("env", "ORDERS_PASSWORD")
    assert (target.roles.read, target.roles.write) == ("pn_read", None)
    assert (target.tls, target.port, target.allow_superuser) == ("verify-full", 5432, False)
    (issuer,) = config.issuers
    assert (issuer.id, issuer.groups_claim) == ("corp", "realm.roles")
    assert dict(issuer.required_claims) == {"tid": "t-1"}


def test_the_tree_is_frozen() -> None:
    config = load_config(None, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.pool.size = 5  # type: ignore[misc]


def test_order_of_sources(tmp_path: Path) -> None:
    path = write(tmp_path, "[pool]\nsize = 5\n")
    env = {"POSTERN_POOL_SIZE": "6"}
    assert load_config(path, {}).pool.size == 5
    assert load_config(path, env).pool.size == 6
    assert load_config(path, env, {"pool.size": "7"}).pool.size == 7
    sources = {}
    for overrides in ({}, {"pool.size": "7"}):
        _, resolved = load_settings(path, env, overrides)
        sources.update({item.source: item.value for item in resolved if item.path == "pool.size"})
    assert sources == {"POSTERN_POOL_SIZE": "6", "command line": "7"}


def test_every_setting_has_a_variable(tmp_path: Path) -> None:
    """Goal: POSTERN_SECTION_KEY works for each key. Method: set each to nonsense, see it read."""
    path = write(tmp_path, FULL)
    for known in known_settings(Config):
        name = known.env.replace("<NAME>", "CORP" if known.path[0] == "issuers" else "ORDERS")
        value = "\0nonsense"
        with pytest.raises(ConfigError) as caught:
            load_config(path, {name: value})
        assert caught.value.where == name, known.dotted


def test_a_target_from_the_environment_alone() -> None:
    env = {
        "POSTERN_TARGETS_ORDERS_HOST": "db",
        "POSTERN_TARGETS_ORDERS_DATABASE": "orders",
        "POSTERN_TARGETS_ORDERS_USER": "postern",
        "POSTERN_TARGETS_ORDERS_TLS": "require",
        "POSTERN_TARGETS_ORDERS_CREDENTIAL_FILE": "secret",
        "POSTERN_ISSUERS_CORP_ISSUER": "https://idp.example.com",
        "POSTERN_ISSUERS_CORP_AUDIENCES": "one, two",
    }
    config = load_config(None, env)
    assert config.targets["orders"].credential == Credential("file", str(Path.cwd() / "secret"))
    assert config.targets["orders"].tls == "require"
    assert config.issuers[0].audiences == ("one", "two")


def test_a_variable_reaches_a_target_whose_name_has_a_dash(tmp_path: Path) -> None:
    path = write(tmp_path, TARGET.replace("orders]", "eu-orders]"))
    config = load_config(path, {"POSTERN_TARGETS_EU_ORDERS_PORT": "6000"})
    assert {name: target.port for name, target in config.targets.items()} == {"eu-orders": 6000}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[pol]\nsize = 1", 1, "unknown key pol; the nearest known one is pool"),
        ("\n[pool]\nsiez = 1", 3, "unknown key pool.siez; the nearest known one is size"),
        ("size = 1", 1, "unknown key size; did you mean pool.size?"),
        ("[pool]\nsize = 0", 2, "pool.size: expected 1 to 1000, got 0"),
        ("[pool]\nsize = true", 2, "pool.size: expected 1 to 1000, got True"),
        ("[pool]\nsize = '5'", 2, "pool.size: expected 1 to 1000, got '5'"),
        ("[pool]\nwait = 5", 2, "pool.wait: expected a string, got an integer"),
        ("[pool]\nwait = '5'", 2, "pool.wait: '5' is not a duration"),
        ("[pool]\nmode = 'statement'", 2, "pool.mode: expected one of transaction"),
        ("pool = 3", 1, "pool: expected a table"),
        ("[workers]\ncount = 'many'", 2, 'workers.count: expected "auto" or 1 to 256'),
        ("[listen]\npostgres = '6433'", 2, "listen.postgres: expected host:port, got '6433'"),
        ("[listen]\npostgres = '::1:6433'", 2, "listen.postgres: expected host:port"),
        ("[listen]\npostgres = 'h:70000'", 2, "listen.postgres: port 70000 is above 65535"),
        ("[listen]\npostgres = []", 2, "listen.postgres: expected at least 1 entry"),
        ("[listen]\npostgres = '0.0.0.0:1'", 2, "listen.postgres: 0.0.0.0:1 is not loopback"),
        ("[listen]\nrequire_tls = 1", 2, "listen.require_tls: expected true or false"),
        ("[listen]\ntls_cert = 'none.pem'", 2, "listen.tls_cert: cannot read"),
        ("[targets.a]\nhost = 'h'", 1, "targets.a.database: required and not set"),
        ("[targets.'a b']\nhost = 'h'", 1, "targets: 'a b' is not a name"),
        (TARGET + "vault = 'x'", 6, "unknown key targets.orders.vault"),
        (TARGET + "credential = {env = 'A', file = 'b'}", 6, "targets.orders.credential: give one"),
        (TARGET.replace('"db"', '"/run"') + "tls = 'require'", 6, "a Unix socket carries no TLS"),
        ("[[issuers]]\nissuer = 'x'", 1, "issuers: every entry needs an id"),
        ("[issuers]\na = 'x'", 2, "issuers.a: expected a table"),
        (ISSUER + ISSUER, 6, "issuers: the id 'corp' is used twice"),
        (ISSUER + ISSUER.replace("corp", "b"), 8, "same as issuer 'corp'"),
        (ISSUER.replace("https", "http"), 4, "issuers.corp.issuer: discovery needs an https://"),
        (ISSUER + "algorithms = ['HS256']", 5, "'HS256' is not one of RS256"),
        (ISSUER + "algorithms = ['none']", 5, "'none' is not one of RS256"),
        ("[store]\nurl = 'mysql://x'", 2, "store.url: expected a URL starting with postgresql"),
        ("[store]\nurl = 'postgresql://x'", 2, "store.url: only the embedded store"),
        ("[pool]\nmode = 'session'", 2, "pool.mode: expected one of transaction"),
        ("[audit]\ndurability = 'hope'", 2, "audit.durability: expected one of journal, group"),
        ("[pool\n", 1, "Expected ']'"),
        ("a = 1\na = 2", 2, "Cannot overwrite a value"),
    ],
)
def test_one_clear_line_that_names_the_place(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.message.startswith(message) or message in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path, {})
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"# fine\n# \xe9\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value) == f"{path}:2: not valid UTF-8"
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(ConfigError, match="larger than"):
        load_config(path, {})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("POSTERN_POOL_SISE", "POSTERN_POOL_SIZE"),
        ("POSTERN_LISTN_POSTGRES", "POSTERN_LISTEN_POSTGRES"),
        ("POSTERN_TARGETS_ORDERS_HOTS", "POSTERN_TARGETS_<NAME>_HOST"),
    ],
)
def test_an_unknown_variable_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {name: "1"})
    assert caught.value.where == name
    assert caught.value.message.endswith(f"the nearest known one is {nearest}")


@pytest.mark.parametrize(
    "name",
    [
        "POSTERN_SERVICE_HOST",
        "POSTERN_PORT_6433_TCP_ADDR",
        "POSTERN_CONTROL_SERVICE_PORT",
        "POSTERN_TOKEN",
        "POSTERN_TOKEN_FILE",
        "PATH",
    ],
)
def test_variables_that_are_not_settings_do_not_stop_the_boot(name: str) -> None:
    assert load_config(None, {name: "tcp://10.0.0.1:6433"}) == load_config(None, {})


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(ConfigError, match="the nearest known one is size"):
        load_config(None, {}, {"pool.sise": "1"})


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = TARGET + "credential = {command = 'fetch --token s3cret'}\n"
    _, resolved = load_settings(write(tmp_path, text), {})
    shown = {item.path: item.value for item in resolved}
    assert shown["targets.orders.credential.command"] == "fetch ..."
    assert "s3cret" not in str(resolved)


def test_tls_pair_must_be_complete(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    path = write(tmp_path, "[listen]\ntls_cert = 'cert.pem'\n")
    with pytest.raises(ConfigError, match="tls_key must be set as well"):
        load_config(path, {})
    (tmp_path / "key.pem").write_text("x")
    path = write(tmp_path, path.read_text() + "tls_key = 'key.pem'\npostgres = '0.0.0.0:6433'\n")
    assert load_config(path, {}).listen.tls_key == tmp_path / "key.pem"


def test_plain_listening_beyond_loopback_must_be_said(tmp_path: Path) -> None:
    path = write(tmp_path, "[listen]\npostgres = '0.0.0.0:6433'\nrequire_tls = false\n")
    assert load_config(path, {}).listen.require_tls is False


def test_lines_of_keys(tmp_path: Path) -> None:
    _, lines = read_file(write(tmp_path, FULL))
    text = FULL.splitlines()
    for path, line in lines.items():
        assert path[-1] in text[line - 1] or path[-1].isdigit(), path
