from typing_extensions import disjoint_base

from _fastpath.cellmask import CellMasker

FINDINGS: tuple[str, ...]

@disjoint_base
class TextScan(CellMasker):
    def __init__(self, *, pad_chars: int = 0) -> None: ...

def find_all(text: bytes) -> list[tuple[str, int, int]]: ...
