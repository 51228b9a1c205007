"""A control plane without sockets: real store, real policy, tokens that are names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import httpx
import orjson

from gateway.approvals.client import ApprovalClient
from gateway.approvals.desk import ApprovalDesk
from gateway.approvals.model import ApprovalRequest, Parameter
from gateway.approvals.terms import Terms
from gateway.audit.journal import Recorder
from gateway.clock import ManualClock
from gateway.config import Config
from gateway.control.app import build_app
from gateway.control.auth import Authenticator
from gateway.control.directory import Directory
from gateway.control.inspector import Inspector
from gateway.control.keys import KeyKeeper
from gateway.control.live import LiveSessions
from gateway.control.login_codes import LoginCodes
from gateway.control.maskkeys import MaskKeyKeeper
from gateway.control.policies import Policies
from gateway.control.rates import Rates
from gateway.control.revocation import RevocationKeeper
from gateway.control.saved import SavedFilters
from gateway.control.service import ControlService
from gateway.control.trail import Trail
from gateway.control.web import Services
from gateway.errors import TokenInvalid
from gateway.identity.gateway_tokens import GatewayTokens
from gateway.identity.logout import Logout
from gateway.ipc.channel import ChannelError
from gateway.ipc.epochs import POLICY, Epochs
from gateway.policy.bundle import Bundle
from gateway.policy.model import Policy
from gateway.policy.principal import Principal

T = TypeVar("T")
BASE = "http://127.0.0.1:8433"
ISSUER = "https://idp.example"

POLICY_TEXT: dict[str, Any] = {
    "version": 1,
    "groups": {
        "billing-agents": {"from": ["corp:agents-billing"], "kind": "agent"},
        "dba-oncall": {"from": ["corp:dba-oncall"], "kind": "human"},
        "other-team": {"from": ["corp:other-team"], "kind": "human"},
        "platform": {"from": ["corp:platform"], "kind": "human"},
        "security": {"from": ["corp:security"], "kind": "human"},
    },
}


def principal(subject: str, *groups: str, agent: str | None = None) -> Principal:
    """Return an identity of issuer `corp`."""
    return Principal(
        issuer_id="corp",
        issuer=ISSUER,
        subject=subject,
        groups=tuple(f"corp:{group}" for group in groups),
        token_id=f"jti-{subject}",
        expires_at=1_700_050_000.0,
        issued_at=1_700_000_000.0,
        agent=agent,
    )


PEOPLE = {
    "bot": principal("bot-7", "agents-billing"),
    "bot2": principal("bot-8", "agents-billing"),
    "ann": principal("ann", "dba-oncall"),
    "bob": principal("bob", "dba-oncall"),
    "eve": principal("eve", "other-team"),
    "root": principal("root", "platform"),
    "sam": principal("sam", "security"),
    "mole": principal("mole", "dba-oncall", "agents-billing"),
    "ann-by-bot": principal("ann", "dba-oncall", agent="bot-7"),
    "owner": principal("owner", "dba-oncall"),
    "owner-by-bot": principal("owner", "agents-billing", agent="bob"),
    "nobody": principal("nobody", "unheard-of"),
}


class Told:
    """The analyzers: answers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {"status": {"targets": {"orders": ""}}}

    async def preview(self, request: Any) -> dict[str, Any]:
        return self.answers["preview"]

    async def tell(self, operation: str, **fields: object) -> dict[str, Any]:
        if operation not in self.answers:
            raise ChannelError("nobody is there")
        return self.answers[operation]

    def close(self) -> None:
        """Nothing is open."""


class Plane:
    """Everything of the control plane, with a clock that stands still."""

    def __init__(self, directory: Path) -> None:
        self.data_dir = directory
        self.clock = ManualClock()
        self.records: list[dict[str, Any]] = []
        self.is_full = False
        self.stop = asyncio.Event()
        self.epochs = Epochs.create(directory / "run" / "epochs")
        self.policy = ""
        self.policy_quorum = 1
        self.reloads = 0
        self.analyzers = Told()
        self.activate(POLICY_TEXT)

    def append(self, record: bytes) -> bool:
        """The journal: keeps records in a list, full when told so."""
        if self.is_full:
            return False
        self.records.append(orjson.loads(record))
        return True

    def activate(self, text: dict[str, Any]) -> None:
        """Make another policy the active one."""
        bundle = Bundle.build(Policy.model_validate(text))
        path = self.data_dir / "policy" / "active.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bundle.to_json())
        self.policy = bundle.digest
        self.epochs.bump(POLICY)

    def reload(self) -> None:
        """The supervisor's part."""
        self.reloads += 1

    def configure(self) -> Config:
        """Return the settings of which the control plane reads any."""
        control = SimpleNamespace(
            listen="127.0.0.1:8433",
            public_url="",
            reviewers=("dba-oncall", "other-team"),
            admins=("platform",),
            auditors=("security",),
            policy_quorum=self.policy_quorum,
        )
        login = SimpleNamespace(client_id=None)
        issuers = (SimpleNamespace(id="corp", kind="oidc", login=login),)
        orders = SimpleNamespace(
            name="orders", host="db", port=5432, database="orders", tls="verify-full", user="pn",
            allow_superuser=False, roles=SimpleNamespace(read="r", write=None, admin=None),
        )  # fmt: skip
        return cast(
            "Config",
            SimpleNamespace(
                control=control, issuers=issuers, targets={"orders": orders},
                policies=self.data_dir / "policies",
            ),
        )  # fmt: skip

    async def start(self) -> None:
        """Open the store and build the application."""
        config = self.configure()
        tokens = GatewayTokens(self.data_dir / "identity" / "tokens.db", self.clock)
        revocations = RevocationKeeper(self.data_dir, self.epochs, self.clock)
        trail = Trail(Recorder(self))
        directory = Directory(config.control, self.epochs, self.data_dir / "policy" / "active.json")
        keys = KeyKeeper((), _no_fetch, self.epochs, clock=self.clock)
        self.desk = ApprovalDesk(
            self.data_dir / "store.db",
            on_move=trail.move,
            active_policy=directory.policy_digest,
            clock=self.clock,
        )
        self.services = Services(
            config=config,
            data_dir=self.data_dir,
            desk=self.desk,
            live=LiveSessions(),
            directory=directory,
            keys=keys,
            auth=Authenticator(self.prove, directory, self.clock, revocations.check),
            revocations=revocations,
            rates=Rates(self.data_dir, self.clock),
            analyzers=self.analyzers,
            inspector=Inspector(self.data_dir, self.analyzers, self.clock),
            policies=Policies(config, self.data_dir, self.clock, self.reload),
            saved=SavedFilters(self.data_dir / "saved.db"),
            gateway_tokens=tokens,
            login_codes=LoginCodes(self.clock),
            verify_logout=_no_logout,
            trail=trail,
            clock=self.clock,
        )
        mask_keys = MaskKeyKeeper(self.data_dir, self.epochs, trail)
        self.service = ControlService(self.desk, self.services.live, keys, tokens, mask_keys)
        self.app = build_app(self.services, self.stop)
        await self.desk.start()

    async def prove(self, token: str) -> tuple[Principal, float]:
        """A token is the name of one of PEOPLE."""
        if token not in PEOPLE:
            raise TokenInvalid(reason="no such person")
        return PEOPLE[token], PEOPLE[token].expires_at

    def http(self, token: str | None = None) -> httpx.AsyncClient:
        """Return a client that calls as `token`."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)

    def worker(self, number: int = 0, generation: int = 1) -> ApprovalClient:
        """Return the worker's end, over a channel that is a function call."""
        return ApprovalClient(self, worker=str(number), generation=generation)

    async def request(self, message: Any, timeout_s: float) -> dict[str, Any]:
        """The channel: JSON there, JSON back."""
        del timeout_s
        answer = await self.service.handle(orjson.loads(orjson.dumps(message)))
        return cast("dict[str, Any]", orjson.loads(orjson.dumps(answer)))

    def asking(self, who: str = "bot", **changes: Any) -> ApprovalRequest:
        """Return a request of `who`; `changes` replace fields."""
        quorum = changes.pop("quorum", 1)
        approvers = changes.pop("approvers", ("dba-oncall",))
        fields: dict[str, Any] = {
            "principal": PEOPLE[who],
            "target": "orders",
            "role": "pn_write",
            "sql": b"DELETE FROM sales.orders",
            "params": (Parameter(25, 0, b"x"),),
            "objects": ("sales.orders",),
            "effects": ("rows.delete",),
            "search_path": ("sales", "public"),
            "transaction": "read committed",
            "policy_digest": self.policy,
            "reason": "clean up",
            "session": "w0-1",
            "terms": Terms(
                rule="bulk-change",
                approvers=approvers,
                quorum=quorum,
                hold_s=20.0,
                request_ttl_s=1800.0,
                grant_ttl_s=600.0,
            ),
        }
        return ApprovalRequest(**(fields | changes))

    async def browser(self, token: str) -> tuple[httpx.AsyncClient, str]:
        """Sign a browser in; returns it and the CSRF token of its pages."""
        client = self.http()
        answer = await client.post("/login", data={"token": token, "next": ""})
        assert answer.status_code == 303, answer.text
        page = (await client.get("/approvals")).text
        return client, page.split('name="csrf" value="')[1].split('"')[0]


async def _no_logout(token: str) -> Logout:
    raise TokenInvalid(reason="nobody logs out here")


async def _no_fetch(issuer: object) -> None:
    raise AssertionError("no issuer has discovery here")


def run(
    directory: Path,
    body: Callable[[Plane], Awaitable[T]],
    prepare: Callable[[Plane], None] = lambda _: None,
) -> T:
    """Run `body` with a started plane; `prepare` changes it before its start."""

    async def main() -> T:
        plane = Plane(directory)
        prepare(plane)
        await plane.start()
        try:
            return await body(plane)
        finally:
            plane.stop.set()
            await plane.desk.stop()

    return asyncio.run(main())
