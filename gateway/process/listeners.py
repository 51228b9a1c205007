"""Bind the sockets clients connect to: host:port, [v6]:port or an absolute path."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from gateway.config_values import split_address
from gateway.ipc.channel import bind_unix, unix_address
from gateway.ipc.keepalive import keep_alive
from gateway.process.exits import StartError

_BACKLOG = 1024
_WHERE = "listen.postgres"


def bind_listeners(addresses: Sequence[str]) -> tuple[socket.socket, ...]:
    """Bind and listen on every address, or raise StartError and leave nothing bound."""
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            bound += [_bind_path(address)] if address.startswith("/") else _bind_tcp(address)
    except BaseException:
        close_listeners(bound)
        raise
    return tuple(bound)


def close_listeners(sockets: Sequence[socket.socket]) -> None:
    """Close `sockets` and remove the files of Unix ones."""
    for sock in sockets:
        name = sock.getsockname() if sock.family == socket.AF_UNIX and sock.fileno() >= 0 else ""
        sock.close()
        if isinstance(name, str) and name.startswith("/"):
            Path(name).unlink(missing_ok=True)


def describe(sock: socket.socket) -> str:
    """Return the address as a person would type it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return str(name)
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _bind_tcp(address: str) -> list[socket.socket]:
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartError(f"{_WHERE}: {address}: {error.strerror}") from error
    bound: list[socket.socket] = []
    for family, kind, protocol, _, where in dict.fromkeys(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keep_alive(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            # `localhost` often names ::1 on hosts without IPv6: one family is enough.
            if error.errno == errno.EADDRNOTAVAIL and len(found) > 1:
                continue
            close_listeners(bound)
            raise StartError(f"{_WHERE}: {address}: {_reason(error)}") from error
        bound.append(sock)
    if not bound:
        raise StartError(f"{_WHERE}: {address}: address not available on this host")
    return bound


def _bind_path(address: str) -> socket.socket:
    path = Path(address).absolute()
    if _answers(path):
        raise StartError(f"{_WHERE}: {path}: another process listens on this socket")
    try:
        # As PostgreSQL's own: who may connect is settled by the token, not by file modes.
        sock = bind_unix(path, mode=0o777)
        sock.listen(_BACKLOG)
    except OSError as error:
        raise StartError(f"{_WHERE}: {path}: {_reason(error)}") from error
    return sock


def _answers(path: Path) -> bool:
    if not path.exists():
        return False
    if not path.is_socket():
        raise StartError(f"{_WHERE}: {path}: exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, unix_address(path) as where:
        return probe.connect_ex(where) == 0


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "port already in use"
    if error.errno == errno.EACCES:
        return "not permitted for this user"
    return os.strerror(error.errno) if error.errno else str(error)
