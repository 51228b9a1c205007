"""What compiled code raises about a peer's bytes. Our own mistakes stay assertions."""

from __future__ import annotations


class FrameError(Exception):
    """The bytes are not what the protocol allows. The session that sent them ends.

    `offset` is where the judged bytes begin; `limit` is the bound that was broken, -1 if none.
    No byte of the message is repeated in the text: it may hold a masked value.
    """

    def __init__(self, message: str, offset: int = 0, limit: int = -1) -> None:
        super().__init__(
            f"{message} at offset {offset}" + (f" (limit {limit})" if limit >= 0 else "")
        )
        self.offset = offset
        self.limit = limit


class CrossCheckError(Exception):
    """The server described another result than the one that was decided on.

    `reason` is for the audit; the text names no value.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
