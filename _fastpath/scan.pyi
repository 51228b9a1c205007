from typing_extensions import disjoint_base

from _fastpath.cellmask import CellMasker

@disjoint_base
class TextScan(CellMasker):
    def __init__(self, *, pad_chars: int = 0) -> None: ...
