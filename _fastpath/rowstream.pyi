from typing_extensions import disjoint_base

from _fastpath.datarow import MaskPlan

@disjoint_base
class RowStream:
    def __init__(self, plan: MaskPlan, size: int) -> None: ...
    def feed_bytes(self, data: bytes) -> bytes: ...
