"""A reload is all or nothing, and says so in the output and the trail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import PolicyError
from gateway.ipc import paths
from gateway.ipc.epochs import POLICY, Epochs
from gateway.policy.bundle import Bundle
from gateway.process.activation import (
    ConfigSource,
    Reloader,
    activate,
    find_changes,
    read_policies,
)
from gateway.process.data_dir import prepare_data_dir

CONFIG = """
data_dir = "data"
policies = "policies"
[targets.orders]
host = "127.0.0.1"
database = "orders"
tls = "disable"
user = "postern"
[[issuers]]
id = "corp"
kind = "local"
issuer = "https://corp.example"
"""

POLICY_FILE = """
version: 1
mode: enforce
groups:
  agents: {from: ["corp:agents"], kind: agent}
grants:
  - {id: read-sales, to: [agents], target: orders, level: read, schema: sales, tables: ["*"]}
"""


class Gateway:
    """Files of a gateway, and a reloader on them."""

    def __init__(self, root: Path) -> None:
        self.file = root / "postern.toml"
        self.file.write_text(CONFIG)
        self.policy = root / "policies" / "main.yaml"
        self.policy.parent.mkdir()
        self.policy.write_text(POLICY_FILE)
        self.source = ConfigSource(self.file, {})
        self.config = self.source.load()
        prepare_data_dir(self.config.data_dir)
        self.epochs = Epochs.create(paths.epochs_file(self.config.data_dir))
        bundle = read_policies(self.config)
        activate(bundle, self.config.data_dir, self.epochs)
        self.misfits: list[str] = []
        self.lines: list[str] = []
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.reload = Reloader(
            self.source,
            self.config,
            bundle,
            validate=lambda _: self.misfits,
            epochs=self.epochs,
            announce=self.lines.append,
            record=lambda kind, **fields: self.records.append((kind, fields)),
        )

    def active(self) -> Bundle:
        """The bundle all processes read."""
        return Bundle.from_json(paths.active_policy(self.config.data_dir).read_bytes())


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def test_good_bundle_replaces(gateway: Gateway) -> None:
    """Goal: a changed policy takes effect. Method: another level, then reload."""
    before = gateway.active()
    gateway.policy.write_text(POLICY_FILE.replace("level: read", "level: write"))
    gateway.reload()
    after = gateway.active()
    assert after.digest != before.digest
    assert gateway.epochs.get(POLICY) == 2
    assert gateway.lines == [f"reload: policies {after.digest[:12]} active"]
    assert gateway.records == [
        (
            "policy.activated",
            {"digest": after.digest, "previous": before.digest, "generation": 2},
        )
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("level: read", "level: root"),
        ("target: orders", "target: order"),
        ("version: 1", "version: [1"),
        ("grants:", "grant:"),
    ],
)
def test_bad_bundle_never_replaces(gateway: Gateway, old: str, new: str) -> None:
    """Goal: the good policy stays. Method: mistakes of several kinds, then the right file."""
    before = gateway.active()
    gateway.policy.write_text(POLICY_FILE.replace(old, new))
    gateway.reload()
    assert gateway.active().digest == before.digest
    assert gateway.epochs.get(POLICY) == 1
    assert any(line.startswith("reload refused: ") for line in gateway.lines)
    assert "main.yaml" in gateway.lines[0]
    assert gateway.lines[-1] == f"reload: policies {before.digest[:12]} stay active"
    assert [kind for kind, _ in gateway.records] == ["policy.rejected"]
    gateway.policy.write_text(POLICY_FILE)
    gateway.reload()
    assert gateway.records[-1][0] == "policy.unchanged"


def test_bundle_that_does_not_fit_is_refused(gateway: Gateway) -> None:
    """Goal: masks bind before they count. Method: a validation that finds something."""
    before = gateway.active()
    gateway.misfits = ["main.yaml:9:3: mask email matches no column"]
    gateway.policy.write_text(POLICY_FILE.replace("level: read", "level: write"))
    gateway.reload()
    assert gateway.active().digest == before.digest
    assert gateway.lines[0] == "reload refused: main.yaml:9:3: mask email matches no column"


def test_fixed_setting_refuses_the_whole_reload(gateway: Gateway) -> None:
    """Goal: all or nothing. Method: a new policy together with a setting that needs a restart."""
    before = gateway.active()
    gateway.policy.write_text(POLICY_FILE.replace("level: read", "level: write"))
    gateway.file.write_text(CONFIG + "[pool]\nsize = 3\n")
    gateway.reload()
    assert gateway.active().digest == before.digest
    assert "pool.size" in gateway.lines[0]
    assert "a change needs a restart" in gateway.lines[0]


def test_broken_config_refuses_the_reload(gateway: Gateway) -> None:
    """Goal: a typing error costs nothing. Method: an unknown key."""
    gateway.file.write_text(CONFIG + "[poool]\nsize = 3\n")
    gateway.reload()
    assert gateway.records[-1][0] == "policy.rejected"
    assert "poool" in gateway.lines[0]


def test_policies_may_move(gateway: Gateway, tmp_path: Path) -> None:
    """Goal: the setting that is live is live. Method: another directory, then reload."""
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "main.yaml").write_text(POLICY_FILE.replace("level: read", "level: admin"))
    gateway.file.write_text(CONFIG.replace('policies = "policies"', 'policies = "moved"'))
    before = gateway.active()
    gateway.reload()
    assert gateway.active().digest != before.digest


def test_changes_are_named(gateway: Gateway) -> None:
    """Goal: the operator reads which setting. Method: three changes at several depths."""
    gateway.file.write_text(
        CONFIG.replace('database = "orders"', 'database = "other"') + "[workers]\ncount = 3\n"
        '[targets.more]\nhost = "h"\ndatabase = "d"\nuser = "u"\n'
    )
    changes = find_changes(gateway.config, gateway.source.load())
    assert [name for name in changes if name != "workers.count"] == [
        "targets.more",
        "targets.orders.database",
    ]


def test_missing_policies_are_an_error(gateway: Gateway) -> None:
    """Goal: no policy is not an empty policy. Method: remove the only file."""
    gateway.policy.unlink()
    with pytest.raises(PolicyError):
        read_policies(gateway.config)
