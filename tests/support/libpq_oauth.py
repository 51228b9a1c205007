"""The OAUTHBEARER hook of libpq 18, as a C program sets it, for the libpq inside psycopg."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg_binary

_BEARER_TOKEN = 1  # PQAUTHDATA_OAUTH_BEARER_TOKEN


class _Request(ctypes.Structure):
    _fields_ = (
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("async_", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_void_p),
        ("user", ctypes.c_void_p),
    )


@dataclass
class Asked:
    """What libpq asked the hook for; `token` is what it is given."""

    token: str
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def bearer_token(token: str) -> Iterator[Asked]:
    """Let libpq present `token` whenever a server offers OAUTHBEARER."""
    (path,) = (Path(psycopg_binary.__file__).parent.parent / "psycopg_binary.libs").glob("libpq-*")
    libpq: Any = ctypes.CDLL(str(path))
    asked, buffer = Asked(token), ctypes.create_string_buffer(token.encode())

    def answer(kind: int, _connection: int, data: int) -> int:
        if kind != _BEARER_TOKEN:
            return 0
        request = _Request.from_address(data)
        asked.requests.append(
            ((request.openid_configuration or b"").decode(), (request.scope or b"").decode())
        )
        request.token = ctypes.addressof(buffer)
        return 1

    takes = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    hook = takes(answer)  # referenced for as long as libpq may call it
    libpq.PQsetAuthDataHook(hook)
    try:
        yield asked
    finally:
        libpq.PQsetAuthDataHook(libpq.PQdefaultAuthDataHook)
