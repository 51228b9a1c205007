from collections.abc import Hashable

class ServerLink:
    dirty: bool
    principal: Hashable | None
    setup: bytes | None
    transaction: int
    held: bool
    owed: int
    copy_in: bool
    cancel_waits: bool
    def __init__(self) -> None: ...
    def is_setting_up(self) -> bool: ...
    def is_idle(self) -> bool: ...
    def forget_session(self) -> None: ...
    @property
    def prepared_count(self) -> int: ...
