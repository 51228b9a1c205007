"""Who is calling: a bearer token, or a browser session that one token opened.

A browser session lives here, not in the cookie: the cookie is a random name for it, known here only
by its digest, so neither a memory dump nor a log opens a session. It ends with the token it was
opened with. Groups and roles are looked up anew for every request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.control.problems import HttpProblem
from gateway.errors import IdentityRevoked, TokenInvalid
from gateway.limits import TOKEN_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request

    from gateway.approvals.rules import Person
    from gateway.clock import Clock
    from gateway.control.directory import Directory
    from gateway.policy.principal import Principal

COOKIE = "postern_session"
SESSION_S_MAX = 8 * 3600.0
SESSION_IDLE_S = 30 * 60.0
SESSIONS_MAX = 2_000
SESSIONS_PER_PERSON_MAX = 10
FAILURES_BURST = 20  # wrong tokens of one address before it has to wait
FAILURES_PER_S = 0.5
ADDRESSES_MAX = 4_096

_CHALLENGE = {"www-authenticate": 'Bearer realm="postern"'}


@dataclass(slots=True)
class BrowserSession:
    """One signed-in browser."""

    principal: Principal
    csrf: str
    ends_at: float
    idle_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A verified caller; `csrf` is set when a cookie proved it."""

    person: Person
    csrf: str = ""

    @property
    def is_browser(self) -> bool:
        """The proof was sent by the browser by itself: state changes need the CSRF token."""
        return bool(self.csrf)


class Failures:
    """Slows down guessing: a bucket of wrong tokens per address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise HttpProblem(429) when `address` has failed too often lately."""
        if self._level(address) >= FAILURES_BURST:
            retry = {"retry-after": str(int(1 / FAILURES_PER_S))}
            raise HttpProblem(429, "too many failed logins from this address", headers=retry)

    def count(self, address: str) -> None:
        """Count one failure of `address`."""
        self._buckets[address] = (self._level(address) + 1, self._clock.monotonic())
        self._buckets.move_to_end(address)
        while len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)

    def _level(self, address: str) -> float:
        level, at = self._buckets.get(address, (0.0, 0.0))
        return max(0.0, level - (self._clock.monotonic() - at) * FAILURES_PER_S)


class Authenticator:
    """Turns tokens and cookies into people, and keeps the browser sessions."""

    def __init__(
        self,
        prove: Callable[[str], Awaitable[tuple[Principal, float]]],
        directory: Directory,
        clock: Clock,
        check: Callable[[Principal], None],
    ) -> None:
        self._prove = prove
        self.check = check  # raises IdentityRevoked
        self._directory = directory
        self._clock = clock
        self._sessions: OrderedDict[bytes, BrowserSession] = OrderedDict()
        self._failures = Failures(clock)

    async def caller(self, request: Request) -> Caller | None:
        """Return who is calling, None when nothing was presented.

        Raises HttpProblem(401) when what was presented does not prove anybody. A bearer token
        wins over a cookie: whoever sends one means it.
        """
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise HttpProblem(401, "send a bearer token", headers=_CHALLENGE)
            principal = await self.verify(token.strip(), _address(request))
            return Caller(person=await self._directory.person(principal))
        session = self._find(request.cookies.get(COOKIE, ""))
        if session is None:
            return None
        return Caller(person=await self._directory.person(session.principal), csrf=session.csrf)

    async def require(self, request: Request) -> Caller:
        """Return who is calling; raises HttpProblem(401) when nobody is proven.

        For a browser, a request that changes something must carry the CSRF token in a header;
        pages check it in the form instead.
        """
        caller = await self.caller(request)
        if caller is None:
            raise HttpProblem(401, "send a bearer token", headers=_CHALLENGE)
        request.state.person = caller.person
        if caller.is_browser and request.method not in {"GET", "HEAD"}:
            check_csrf(caller, request.headers.get("x-csrf-token", ""))
        return caller

    async def verify(self, token: str, address: str) -> Principal:
        """Verify a token; raises HttpProblem(401) with one text for every reason."""
        principal, _ = await self.prove(token, address)
        if principal.only_target or principal.only_level or principal.certificate:
            reason = "narrowed to a database, or bound to a certificate"
            text = "the token was not accepted"
            raise HttpProblem(401, text, reason=reason, headers=_CHALLENGE)
        return principal

    async def prove(self, token: str, address: str) -> tuple[Principal, float]:
        """Return who any good token is about and how long what it rests on lasts; as `verify`."""
        try:
            with self.counting_failures(address):
                if not token or len(token) > TOKEN_BYTES_MAX:
                    raise TokenInvalid(reason="empty or oversized token")
                proven = await self._prove(token)
                self.check(proven[0])
                return proven
        except (TokenInvalid, IdentityRevoked) as exc:  # TokenExpired as well
            headers, text = _CHALLENGE, "the token was not accepted"
            raise HttpProblem(401, text, reason=exc.reason, headers=headers) from None

    @contextmanager
    def counting_failures(self, address: str) -> Iterator[None]:
        """Count what does not prove anybody inside; raises HttpProblem(429) after too many."""
        self._failures.check(address)
        try:
            yield
        except (TokenInvalid, IdentityRevoked):
            self._failures.count(address)
            raise

    async def open_session(self, principal: Principal) -> tuple[str, Person]:
        """Open a browser session; returns the cookie's value and who it is for.

        Whoever calls has verified who it is. Always under a new name: a cookie that somebody
        planted before the login opens nothing.
        """
        now = self._clock.wall()
        own = [key for key, s in self._sessions.items() if s.principal.key == principal.key]
        for key in own[: max(0, len(own) - SESSIONS_PER_PERSON_MAX + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= SESSIONS_MAX:
            self._sessions.popitem(last=False)
        name = secrets.token_urlsafe(32)
        self._sessions[_digest(name)] = BrowserSession(
            principal=principal,
            csrf=secrets.token_urlsafe(32),
            ends_at=min(principal.expires_at, now + SESSION_S_MAX),
            idle_at=now + SESSION_IDLE_S,
        )
        return name, await self._directory.person(principal)

    def sign_out(self, request: Request) -> None:
        """End the browser session of this request."""
        self._sessions.pop(_digest(request.cookies.get(COOKIE, "")), None)

    def _find(self, name: str) -> BrowserSession | None:
        key = _digest(name)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._clock.wall()
        try:
            self.check(session.principal)
        except IdentityRevoked:
            del self._sessions[key]
            return None
        if now >= session.ends_at or now >= session.idle_at:
            del self._sessions[key]
            return None
        session.idle_at = now + SESSION_IDLE_S
        return session


def check_csrf(caller: Caller, presented: str) -> None:
    """Raise HttpProblem(403) unless `presented` is the session's CSRF token."""
    if not hmac.compare_digest(caller.csrf.encode(), presented.encode("utf-8", "replace")):
        raise HttpProblem(403, "this form is stale; reload the page", reason="CSRF token missing")


def check_same_origin(request: Request) -> None:
    """Raise HttpProblem(403) when a browser says that another site made it send this.

    Holds for forms that have no session yet, the login above all: signing somebody in as
    somebody else is an attack too. Programs that are no browsers send neither header.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        raise HttpProblem(403, "this form came from another site", reason="cross-site form")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        raise HttpProblem(403, "this form came from another site", reason="cross-origin form")


def _address(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()
