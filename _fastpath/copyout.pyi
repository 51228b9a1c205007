from collections.abc import Sequence

from typing_extensions import disjoint_base

from _fastpath.datarow import MaskPlan

FORMS: dict[str, int]

@disjoint_base
class CopyOut:
    def __init__(
        self,
        plan: MaskPlan,
        form: str,
        *,
        delimiter: bytes = b"\t",
        null: bytes = b"\\N",
        quote: bytes = b'"',
        escape: bytes = b'"',
        header: bool = False,
        force_quote: Sequence[bool] = (),
    ) -> None: ...
    def feed_bytes(self, payload: bytes) -> bytes: ...
    def finish_bytes(self) -> bytes: ...
