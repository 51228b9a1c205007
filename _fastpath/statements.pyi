from collections.abc import Callable
from typing import Any

from _fastpath.datarow import MaskPlan

class Verdict:
    action: int
    decision: Any
    audit: bytes
    substitute: bytes | None
    pin: bytes | None
    deallocate: bytes | None
    copy_in: bool
    copy_out: bool
    ddl: bool
    resets_role: bool
    resets_settings: bool
    affects: bool
    changes: bool
    returns_rows: bool
    plannable: bool
    count: int
    once: bool
    redact_params: bool
    def __init__(
        self,
        action: int,
        decision: object,
        audit: bytes,
        *,
        substitute: bytes | None = None,
        pin: bytes | None = None,
        deallocate: bytes | None = None,
        copy_in: bool = False,
        copy_out: bool = False,
        ddl: bool = False,
        resets_role: bool = False,
        resets_settings: bool = False,
        affects: bool = False,
        changes: bool = False,
        returns_rows: bool = True,
        plannable: bool = False,
        count: int = 1,
        once: bool = False,
        cursors: tuple[tuple[int, bytes] | None, ...] | None = None,
        settings: tuple[tuple[int, str, bytes] | None, ...] | None = None,
        redact_params: bool = False,
    ) -> None: ...

class VerdictCache:
    planner: Callable[[bytes, bytes | None, Verdict, int], MaskPlan | None]
    has_masks: bool
    policy_generation: int
    catalog_generation: int
    hits_exact: int
    hits_fingerprint: int
    misses: int
    def __init__(
        self,
        planner: Callable[[bytes, bytes | None, Verdict, int], MaskPlan | None],
        has_masks: bool,
        policy_generation: int,
        catalog_generation: int,
    ) -> None: ...
    def add(self, sql: bytes, types: bytes, verdict: Verdict, *, by_fingerprint: bool) -> None: ...
    def sizes(self) -> tuple[int, int]: ...
