from collections.abc import Callable

from typing_extensions import disjoint_base

@disjoint_base
class CellMasker:
    def mask_bytes(self, value: bytes) -> bytes | None: ...

@disjoint_base
class PlainMasker(CellMasker):
    def __init__(
        self,
        fixed: bytes | None,
        *,
        is_partial: bool = False,
        keep_first: int = 0,
        keep_last: int = 0,
        filler: bytes = b"",
        pad_chars: int = 0,
        strip_blanks: bool = False,
    ) -> None: ...

@disjoint_base
class CallMasker(CellMasker):
    def __init__(self, call: Callable[[bytes], bytes | None]) -> None: ...

@disjoint_base
class BinaryArray(CellMasker):
    def __init__(self, element: CellMasker) -> None: ...

@disjoint_base
class TextArray(CellMasker):
    def __init__(self, element: CellMasker) -> None: ...
