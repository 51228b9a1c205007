"""What `postern check` warns of, on machines that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import Config, load_config
from gateway.process.machine import (
    check_cpus,
    check_descriptors,
    check_memory,
    check_pool,
    check_room,
    memory_limit,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "postern.toml").write_text(
        """
[workers]
count = 4
[pool]
size = 20
[targets.orders]
host = "db"
database = "orders"
user = "u"
roles = {read = "r", write = "w"}
"""
    )
    return load_config(tmp_path / "postern.toml", {})


def test_descriptors(config: Config) -> None:
    ((what, text),) = check_descriptors(config, 1_024)
    assert (what, "900 clients" in text) == ("descriptors", True)
    assert list(check_descriptors(config, 65_536)) == []


def test_cpus_and_memory(config: Config) -> None:
    assert [what for what, _ in check_cpus(config, 2)] == ["workers"]
    assert list(check_cpus(config, 4)) == []
    assert [what for what, _ in check_memory(config, 512 << 20)] == ["memory"]
    assert list(check_memory(config, 2 << 30)) == list(check_memory(config, None)) == []


def test_pool_against_the_server(config: Config) -> None:
    """Goal: workers x levels x size is held against what the server has left for us."""
    target = config.targets["orders"]
    server = {"max_connections": 100, "reserved": 3, "role_limit": -1}
    ((_, text),) = check_pool(config, target, server)
    assert "240 connections" in text
    assert "gives 97" in text
    assert list(check_pool(config, target, server | {"max_connections": 300})) == []
    assert list(check_pool(config, target, server | {"max_connections": 300, "role_limit": 10}))
    small = replace(config, pool=replace(config.pool, total=32))
    assert list(check_pool(small, target, server)) == []


def test_room_on_the_disk() -> None:
    assert [what for what, _ in check_room(500 << 20)] == ["disk"]
    assert list(check_room(50 << 30)) == []


def test_memory_limit_of_the_cgroup(tmp_path: Path) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "some").write_text("1073741824\n")
    assert memory_limit(tmp_path / "max") is memory_limit(tmp_path / "absent") is None
    assert memory_limit(tmp_path / "some") == 1 << 30
