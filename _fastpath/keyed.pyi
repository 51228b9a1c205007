from typing_extensions import disjoint_base

from _fastpath.cellmask import CellMasker

KEY_SIZE_MIN: int

@disjoint_base
class Keyed(CellMasker):
    def __init__(self, key: bytes, tag: bytes, *, is_binary: bool = False) -> None: ...

@disjoint_base
class KeyedText(Keyed):
    def __init__(
        self,
        key: bytes,
        *,
        chars_max: int | None = None,
        pad_chars: int = 0,
        strip_blanks: bool = False,
        as_uuid: bool = False,
    ) -> None: ...

@disjoint_base
class KeyedInt(Keyed):
    def __init__(self, key: bytes, width: int, *, is_binary: bool = False) -> None: ...

@disjoint_base
class KeyedUuid(Keyed):
    def __init__(self, key: bytes, *, is_binary: bool = False) -> None: ...

@disjoint_base
class KeyedBytea(Keyed):
    def __init__(self, key: bytes, *, is_binary: bool = False) -> None: ...

@disjoint_base
class KeyedJson(Keyed):
    def __init__(self, key: bytes, *, is_versioned: bool = False) -> None: ...
