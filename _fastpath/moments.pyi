from _fastpath.cellmask import CellMasker

UNITS: tuple[str, ...]
FAMILIES: tuple[str, ...]

class Truncate(CellMasker):
    def __init__(self, family: str, unit: str, zero: bytes, *, is_binary: bool) -> None: ...
