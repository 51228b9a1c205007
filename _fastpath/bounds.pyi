class StatementLimits:
    max_rows: int
    max_bytes: int
    max_affected: int
    max_ns: int
    max_cost: float
    enforced: bool
    errors: tuple[bytes, ...]
    members: tuple[bytes, ...]
    def __init__(
        self,
        max_rows: int,
        max_bytes: int,
        max_affected: int,
        max_ns: int,
        max_cost: float,
        *,
        enforced: bool,
        errors: tuple[bytes, ...],
        members: tuple[bytes, ...],
    ) -> None: ...

class Budget:
    windows: tuple[tuple[int, int, int, int, int], ...]
    over: int
    def __init__(
        self, slots: memoryview, windows: tuple[tuple[int, int, int, int, int], ...]
    ) -> None: ...
    def used(self, index: int) -> tuple[int, int]: ...
