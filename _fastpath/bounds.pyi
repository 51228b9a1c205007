class StatementLimits:
    max_rows: int
    max_bytes: int
    max_affected: int
    max_ns: int
    enforced: bool
    errors: tuple[bytes, ...]
    members: tuple[bytes, ...]
    def __init__(
        self,
        max_rows: int,
        max_bytes: int,
        max_affected: int,
        max_ns: int,
        *,
        enforced: bool,
        errors: tuple[bytes, ...],
        members: tuple[bytes, ...],
    ) -> None: ...
