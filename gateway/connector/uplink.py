"""The connection to one gateway: join once, prove the key, beat, do what is asked and allowed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from gateway.config_values import split_address
from gateway.connector.keys import JoinToken, Keys, joining_context
from gateway.connector.streams import Streams
from gateway.connector.trail import TrailUnwritable
from gateway.errors import ConfigError, GatewayError, UpstreamError
from gateway.identity.authority import GATEWAY_NAME, make_request
from gateway.ipc.connector_wire import (
    PROTOCOL_VERSION,
    WireError,
    build_greeting,
    read_frame,
    tune,
    write_frame,
)
from gateway.limits import (
    CONNECTOR_BEAT_S,
    CONNECTOR_FRAME_BYTES_MAX,
    CONNECTOR_GREETING_S,
    CONNECTOR_LOST_S,
    CONNECTOR_OPENS_MAX,
)
from gateway.logs import get_logger
from gateway.upstream.dial import ServerLink

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.connector.settings import ConnectorSettings
    from gateway.connector.spares import Spares
    from gateway.connector.trail import ConnectorTrail
    from gateway.connector.veto import Veto

_RETRY_LEAST_S = 0.1
_RETRY_MOST_S = 5.0
_RETRY_REFUSED_S = 30.0

log = get_logger("uplink")


class Refused(GatewayError):
    """The gateway does not let this connector in."""


class Uplink:
    """Serves one gateway until it is cancelled."""

    def __init__(
        self,
        address: str,
        settings: ConnectorSettings,
        *,
        directory: Path,
        spares: Mapping[str, Spares],
        unfit: Mapping[str, str],
        veto: Veto,
        trail: ConnectorTrail,
        join_token: Callable[[], JoinToken | None],
    ) -> None:
        self._address = address
        self._settings = settings
        self._keys = Keys(directory)
        self._unfit = unfit
        self._veto = veto
        self._trail = trail
        self._join_token = join_token
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: bytes | None = None
        self._streams = Streams(
            address, spares=spares, veto=veto, trail=trail, dial_data=self._dial_data
        )

    async def run(self) -> None:
        """Stay connected; raises ConfigError when there is neither a key nor a join token."""
        wait_s = _RETRY_LEAST_S
        try:
            while True:
                try:
                    if not self._keys.is_there:
                        await self._join()
                    await self._serve()
                    wait_s = _RETRY_LEAST_S
                except Refused as error:
                    log.error("gateway %s: %s", self._address, error)  # noqa: TRY400
                    wait_s = _RETRY_REFUSED_S
                except (OSError, TimeoutError, WireError, TrailUnwritable) as error:
                    log.warning("gateway %s: %s", self._address, _reason(error))
                    wait_s = min(_RETRY_MOST_S, wait_s * 2)
                # Two connectors that lost one gateway must not come back in step.
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        finally:
            self._streams.close()

    async def _join(self) -> None:
        join = self._join_token()
        if join is None:
            raise ConfigError(
                f"gateway {self._address}", "not joined yet, and no join token is given"
            )
        async with asyncio.timeout(CONNECTOR_GREETING_S):
            reader, writer = await self._control(joining_context())
            try:
                shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                # Before the token is sent: whoever else answers here must not have it.
                if not hmac.compare_digest(hashlib.sha256(shown or b"").hexdigest(), join.pin):
                    raise Refused("it is not the gateway that the join token is of")
                key, request = make_request("connector")
                write_frame(
                    writer, {"op": "join", "token": join.token, "request": request.decode()}
                )
                answer = await read_frame(reader)
            finally:
                writer.close()
        if answer.get("ok") is not True:
            raise Refused("the join token was not accepted")
        self._keys.save(key, str(answer["certificate"]), str(answer["authority"]))
        self._trail.record("joined", gateway=self._address, member=answer.get("member"))
        log.info("joined gateway %s as %s", self._address, answer.get("member"))

    async def _serve(self) -> None:
        gateway = self._keys.gateway
        if self._veto.refuses_gateway(gateway):
            self._trail.record("refused", gateway=self._address, reason="gateway not allowed")
            raise Refused(f"{gateway} is not in allow_gateways")
        async with asyncio.timeout(CONNECTOR_GREETING_S):
            reader, writer = await self._control(self._keys.context())
            write_frame(writer, self._registration())
            answer = await read_frame(reader)
        try:
            if answer.get("ok") is not True:
                raise Refused("this connector was not let in; the gateway's trail says why")
            self._trail.record("connected", gateway=self._address)
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(self._beat(writer), name="beat")
                try:
                    await self._listen(reader, writer)
                finally:
                    beating.cancel()
        except* WireError as group:
            raise WireError(str(group.exceptions[0])) from None
        finally:
            self._renewing = None
            writer.close()

    def _registration(self) -> dict[str, Any]:
        targets = {
            served.name: {
                "database": served.database,
                "user": served.user,
                "roles": [*served.roles, served.user],
            }
            for served in self._settings.targets.values()
        }
        return {
            "op": "register", "protocol": PROTOCOL_VERSION, "version": own_version(),
            "targets": targets,
        }  # fmt: skip

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        while True:
            write_frame(
                writer,
                {"op": "beat", "streams": self._streams.count, "health": dict(self._unfit)},
            )
            if self._renewing is None and self._keys.should_renew():
                self._renewing, request = make_request("connector")
                write_frame(writer, {"op": "renew", "request": request.decode()})
            await asyncio.sleep(CONNECTOR_BEAT_S)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(None):
                frame = await read_frame(reader)
            if frame.get("op") == "renewed" and self._renewing is not None:
                self._keys.save(self._renewing, str(frame["certificate"]))
                log.info("gateway %s: a new key", self._address)
                # The streams go on; the next control connection proves the new key.
                raise WireError("connecting again with the new key")
            if len(self._tasks) >= CONNECTOR_OPENS_MAX:
                raise WireError("too many requests at once")
            task = asyncio.get_running_loop().create_task(self._do(frame, writer), name="request")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _do(self, frame: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        answer: dict[str, Any] = {"n": frame.get("n")}
        try:
            if frame.get("op") == "open":
                answer |= await self._streams.open(frame, self._unfit)
            elif frame.get("op") == "cancel":
                answer |= await self._streams.cancel(frame)
            else:
                raise UpstreamError("unknown request")
            answer["ok"] = True
        except (GatewayError, OSError, TimeoutError) as error:
            answer["error"] = _reason(error)
        except (KeyError, ValueError, TypeError):
            answer["error"] = "a malformed request"
        write_frame(writer, answer)

    async def _control(
        self, context: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(limit=CONNECTOR_FRAME_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await self._dial(context, lambda: protocol, None)
        loop = asyncio.get_running_loop()
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _dial_data(self, slot: int) -> tuple[ServerLink, asyncio.Transport]:
        link = ServerLink()
        async with asyncio.timeout(CONNECTOR_LOST_S):
            return link, await self._dial(self._keys.context(), lambda: link, slot)

    async def _dial(
        self,
        context: ssl.SSLContext,
        factory: Callable[[], asyncio.Protocol],
        slot: int | None,
    ) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        host, port = split_address(self._address)
        # The greeting goes before TLS, so TLS begins on a protocol of its own.
        plain, _ = await loop.create_connection(asyncio.Protocol, host, port)
        try:
            tune(plain.get_extra_info("socket"))
            plain.write(build_greeting(slot))
            protocol = factory()
            secured = await loop.start_tls(plain, protocol, context, server_hostname=GATEWAY_NAME)
            if secured is None:
                raise WireError("the gateway closed the connection")
        except BaseException:
            plain.abort()
            raise
        with suppress(AttributeError):
            protocol.connection_made(secured)
        return secured


def own_version() -> str:
    """Return the version of this installation; a source tree has none."""
    try:
        return version("pgpostern")
    except PackageNotFoundError:
        return "source"


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'handshake'}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
