"""Start and stop everything the control process does.

Order matters: the store is open and what died executing is UNKNOWN before anybody can ask; the
socket for workers is there before the pages, and goes before the store closes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from _fastpath.journal import Journal
from gateway.approvals.desk import ApprovalDesk
from gateway.audit.journal import Recorder
from gateway.clock import SYSTEM_CLOCK
from gateway.config_values import split_address
from gateway.control.app import build_app
from gateway.control.auth import Authenticator
from gateway.control.connectors import Connectors
from gateway.control.directory import Directory
from gateway.control.foresight import ANSWER_S, Foresight
from gateway.control.inspector import Inspector
from gateway.control.keys import KeyKeeper
from gateway.control.live import LiveSessions
from gateway.control.login_codes import LoginCodes
from gateway.control.maskkeys import MaskKeyKeeper
from gateway.control.policies import Policies
from gateway.control.rates import Rates
from gateway.control.retention import RetentionKeeper
from gateway.control.revocation import RevocationKeeper
from gateway.control.saved import SavedFilters
from gateway.control.service import ControlService
from gateway.control.tokens import Tokens, fetcher
from gateway.control.trail import Trail
from gateway.control.web import Services
from gateway.errors import ConfigError
from gateway.ipc import paths
from gateway.ipc.analyzer_client import AnalyzerClient
from gateway.ipc.channel import bind_unix, serve_channel
from gateway.ipc.crash_memory import CrashMemory
from gateway.limits import JOURNAL_CONTROL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from gateway.control.context import ControlContext

STORE_FILE = "store.db"
SAVED_FILE = "saved.db"
GRACE_S = 3
CONNECTIONS_MAX = 1_000
KEEP_ALIVE_S = 15

log = logging.getLogger(__name__)


def build_services(context: ControlContext) -> Services:
    """Return the parts of the control plane, nothing of it started."""
    config, data_dir = context.config, context.data_dir
    if config.store.url:
        raise ConfigError("store.url", "only the embedded store is available; leave it empty")
    trail = Trail(Recorder(Journal(str(context.journal_path), JOURNAL_CONTROL_BYTES)))
    directory = Directory(config.control, context.epochs, paths.active_policy(data_dir))
    keys = KeyKeeper(config.issuers, fetcher(data_dir), context.epochs)
    tokens = Tokens(context, keys.refresh_now)
    revocations = RevocationKeeper(data_dir, context.epochs, SYSTEM_CLOCK)
    analyzers = _analyzers(context)
    return Services(
        config=config,
        data_dir=data_dir,
        desk=ApprovalDesk(
            data_dir / STORE_FILE, on_move=trail.move, active_policy=directory.policy_digest
        ),
        live=LiveSessions(),
        directory=directory,
        keys=keys,
        auth=Authenticator(tokens.prove, directory, SYSTEM_CLOCK, revocations.check),
        revocations=revocations,
        rates=Rates(data_dir, SYSTEM_CLOCK),
        analyzers=analyzers,
        inspector=Inspector(data_dir, analyzers, SYSTEM_CLOCK),
        policies=Policies(config, data_dir, SYSTEM_CLOCK, context.reload),
        saved=SavedFilters(data_dir / SAVED_FILE),
        gateway_tokens=tokens.own,
        login_codes=LoginCodes(SYSTEM_CLOCK),
        verify_logout=tokens.verify_logout,
        trail=trail,
        clock=SYSTEM_CLOCK,
        connectors=Connectors(context, trail, SYSTEM_CLOCK) if config.connectors.listen else None,
    )


async def run_control(context: ControlContext, stop: asyncio.Event) -> None:
    """Serve the control plane until `stop` is set; raises ConfigError when it cannot listen."""
    async with AsyncExitStack() as stack:
        sock = _bind(context.config.control.listen)
        stack.callback(sock.close)
        gate = _bind_gate(context.config.connectors.listen)
        stack.callback(gate.close)
        services = build_services(context)
        service = ControlService(
            services.desk,
            services.live,
            services.keys,
            services.gateway_tokens,
            MaskKeyKeeper(context.data_dir, context.epochs, services.trail),
        )
        if services.connectors is not None:
            await services.connectors.start(gate)
            stack.push_async_callback(services.connectors.stop)
            service.add("connector.open", services.connectors.open)
        await services.revocations.prepare()
        stack.callback(services.analyzers.close)
        foresight = Foresight(services.desk, services.analyzers)
        await services.desk.start()
        stack.push_async_callback(services.desk.stop)
        channel = await serve_channel(paths.control_socket(context.data_dir), service.handle)
        stack.push_async_callback(channel.stop)
        ending = asyncio.Event()
        retention = RetentionKeeper(
            context.data_dir, paths.active_policy(context.data_dir), SYSTEM_CLOCK
        )
        server = _server(build_app(services, ending))
        async with asyncio.TaskGroup() as tasks:
            jobs = [
                tasks.create_task(services.desk.run(), name="approval-expiry"),
                tasks.create_task(services.keys.run(), name="key-refresh"),
                tasks.create_task(retention.run(), name="retention"),
                tasks.create_task(foresight.run(), name="previews"),
                tasks.create_task(services.rates.run(), name="rates"),
            ]
            serving = tasks.create_task(server.serve([sock]), name="http")
            stopping = tasks.create_task(stop.wait(), name="stop")
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            ending.set()
            server.should_exit = True
            for job in (*jobs, stopping):
                job.cancel()
            with suppress(asyncio.CancelledError):
                await serving


def _analyzers(context: ControlContext) -> AnalyzerClient:
    count = context.config.workers.analyzers
    sockets = [paths.analyzer_socket(context.data_dir, number) for number in range(count)]
    crashes = CrashMemory.open(paths.crash_file(context.data_dir))
    return AnalyzerClient(sockets, crashes, timeout_s=ANSWER_S)


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # the audit trail has every call
        server_header=False,
        proxy_headers=False,  # an address in the trail is one we saw ourselves
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the process layer's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


def _bind_gate(listen: str | None) -> socket.socket:
    """Return the socket for connectors, an unbound one when there is no address for them."""
    if listen is None:
        return socket.socket()
    return _bind(listen, "connectors.listen")


def _bind(listen: str, where: str = "control.listen") -> socket.socket:
    """Return the bound socket; raises ConfigError naming the setting."""
    try:
        if listen.startswith("/"):
            return bind_unix(Path(listen))
        host, port = split_address(listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
    except OSError as exc:
        raise ConfigError(where, f"cannot listen on {listen}: {exc.strerror}") from exc
    sock.setblocking(False)
    return sock
