"""Binding: addresses as typed, mistakes as one line, nothing left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.process.exits import StartError
from gateway.process.listeners import bind_listeners, close_listeners, describe


def test_tcp_and_unix_together(tmp_path: Path) -> None:
    """Goal: several addresses at once. Method: bind both kinds, connect to both."""
    path = tmp_path / ".s.PGSQL.6433"
    sockets = bind_listeners(["127.0.0.1:0", str(path)])
    assert [describe(sock).split(":")[0] for sock in sockets] == ["127.0.0.1", str(path)]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    close_listeners(sockets)
    assert not path.exists()


def test_failure_leaves_nothing_bound(tmp_path: Path) -> None:
    """Goal: all or nothing. Method: a good Unix socket before a port that is taken."""
    taken = bind_listeners(["127.0.0.1:0"])
    path = tmp_path / "s"
    with pytest.raises(StartError, match="port already in use"):
        bind_listeners([str(path), describe(taken[0])])
    assert not path.exists()
    close_listeners(taken)


def test_foreign_file_is_not_replaced(tmp_path: Path) -> None:
    """Goal: a typing error deletes no file. Method: the path of a regular file."""
    (tmp_path / "precious").write_text("data")
    with pytest.raises(StartError, match="exists and is not a socket"):
        bind_listeners([str(tmp_path / "precious")])
    assert (tmp_path / "precious").read_text() == "data"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.0.2.1:5", "not available|Cannot assign"),
        ("/nonexistent/dir/s", "No such file"),
    ],
)
def test_reasons_are_readable(address: str, reason: str) -> None:
    """Goal: the line names the address and why. Method: addresses that cannot be had."""
    with pytest.raises(StartError, match=reason) as caught:
        bind_listeners([address])
    assert address in str(caught.value)
