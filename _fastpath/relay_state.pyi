from collections.abc import Hashable
from typing import Any

from _fastpath.bounds import StatementLimits
from _fastpath.link import ServerLink
from _fastpath.statements import VerdictCache

class RelayState:
    cache: VerdictCache
    link: ServerLink | None
    principal: Hashable
    setup: bytes
    events: int
    fault: Any
    limits: StatementLimits | None
    over: int
    statement_count: int
    pin: bytes | None
    watched: dict[int, object]
    finished: list[tuple[Any, bytes, int]]
