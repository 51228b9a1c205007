"""Requests over a real Unix socket: answers, bounds, loss and reconnection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.ipc.channel import (
    Channel,
    ChannelBusy,
    ChannelError,
    ChannelLost,
    ChannelTimeout,
    serve_channel,
)
from gateway.limits import IPC_FRAME_BYTES_MAX


async def echo(message: dict[str, Any]) -> Mapping[str, Any]:
    if message.get("fail"):
        raise ValueError("secret detail")
    if delay := message.get("delay"):
        await asyncio.sleep(delay)
    return {"echo": message}


def test_answers_come_in_any_order(tmp_path: Path) -> None:
    """Goal: a slow request delays no other. Method: slow then quick, quick answers first."""

    async def main() -> None:
        server = await serve_channel(tmp_path / "a.sock", echo)
        channel = await Channel.connect(tmp_path / "a.sock")
        slow = asyncio.ensure_future(channel.request({"n": 1, "delay": 0.2}, 5))
        quick = await channel.request({"n": 2}, 5)
        assert quick == {"echo": {"n": 2}}
        assert not slow.done()
        assert await slow == {"echo": {"n": 1, "delay": 0.2}}
        channel.close()
        await server.stop()

    asyncio.run(main())


def test_failing_handler_reports_without_detail(tmp_path: Path) -> None:
    """Goal: an exception's text stays in the log. Method: a handler that raises."""

    async def main() -> None:
        server = await serve_channel(tmp_path / "a.sock", echo)
        channel = Channel(tmp_path / "a.sock")
        with pytest.raises(ChannelError, match="internal error"):
            await channel.request({"fail": True}, 5)
        assert await channel.request({"n": 1}, 5) == {"echo": {"n": 1}}
        channel.close()
        await server.stop()

    asyncio.run(main())


def test_bounds_on_both_ends(tmp_path: Path) -> None:
    """Goal: neither end holds more than its bound. Method: one request more than each."""

    async def main() -> None:
        server = await serve_channel(tmp_path / "a.sock", echo, in_flight_max=2)
        wide, narrow = Channel(tmp_path / "a.sock"), Channel(tmp_path / "a.sock", pending_max=1)
        held = [asyncio.ensure_future(wide.request({"delay": 0.3}, 5)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(ChannelBusy):
            await wide.request({"n": 3}, 5)
        one = asyncio.ensure_future(narrow.request({"delay": 0.1}, 5))
        await asyncio.sleep(0.01)
        with pytest.raises(ChannelBusy):
            await narrow.request({"n": 2}, 5)
        await asyncio.gather(one, *held)
        wide.close()
        narrow.close()
        await server.stop()

    asyncio.run(main())


def test_timeout_then_loss_then_reconnect(tmp_path: Path) -> None:
    """Goal: each failure has its own error, and the channel heals. Method: stop and restart."""
    path = tmp_path / "a.sock"

    async def main() -> None:
        with pytest.raises(ChannelTimeout):
            await Channel.connect(path, timeout_s=0.1)
        server = await serve_channel(path, echo)
        channel = Channel(path)
        with pytest.raises(ChannelTimeout):
            await channel.request({"delay": 1}, 0.05)
        lost = asyncio.ensure_future(channel.request({"delay": 5}, 10))
        await asyncio.sleep(0.05)
        await server.stop()
        with pytest.raises(ChannelLost):
            await lost
        waiting = asyncio.ensure_future(channel.request({"n": 9}, 5))
        await asyncio.sleep(0.05)
        server = await serve_channel(path, echo)
        assert await waiting == {"echo": {"n": 9}}
        channel.close()
        await server.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    "raw",
    [
        (IPC_FRAME_BYTES_MAX + 1).to_bytes(4) + bytes(5),
        (2).to_bytes(4) + bytes(5) + b"[]",
        (2).to_bytes(4) + bytes(5) + b"{{",
    ],
    ids=["oversized", "not-an-object", "not-json"],
)
def test_malformed_frame_drops_only_its_connection(tmp_path: Path, raw: bytes) -> None:
    """Goal: a broken peer harms itself only. Method: raw bytes beside a good channel."""
    path = tmp_path / "a.sock"

    async def main() -> None:
        server = await serve_channel(path, echo)
        good = await Channel.connect(path)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(raw)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert await good.request({"n": 1}, 5) == {"echo": {"n": 1}}
        good.close()
        await server.stop()

    asyncio.run(main())


def test_path_longer_than_sun_path(tmp_path: Path) -> None:
    """Goal: a deep data directory works. Method: a path of over 108 bytes, stale file there."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    path = deep / "analyzer-0.sock"
    path.touch()

    async def main() -> None:
        server = await serve_channel(path, echo)
        channel = await Channel.connect(path)
        assert await channel.request({"n": 1}, 5) == {"echo": {"n": 1}}
        assert path.stat().st_mode & 0o777 == 0o600
        channel.close()
        await server.stop()
        assert not path.exists()

    asyncio.run(main())


def test_frames_survive_every_split(tmp_path: Path) -> None:
    """Goal: framing does not depend on reads. Method: one request sent a byte at a time."""
    path = tmp_path / "a.sock"

    async def main() -> bytes:
        server = await serve_channel(path, echo)
        frame = (7).to_bytes(4) + (5).to_bytes(4) + b"\0" + b'{"n":1}'
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(peer, str(path))
        for byte in frame:
            await loop.sock_sendall(peer, bytes([byte]))
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(loop.sock_recv(peer, 100), 5)
        peer.close()
        await server.stop()
        return answer

    assert asyncio.run(main())[9:] == b'{"echo":{"n":1}}'
