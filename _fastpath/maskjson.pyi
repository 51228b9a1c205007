from collections.abc import Sequence

from typing_extensions import disjoint_base

from _fastpath.cellmask import CellMasker

@disjoint_base
class JsonPaths(CellMasker):
    def __init__(
        self,
        paths: Sequence[Sequence[bytes | None]],
        *,
        keep: bool = False,
        is_versioned: bool = False,
    ) -> None: ...

@disjoint_base
class JsonScan(CellMasker):
    def __init__(self, *, is_versioned: bool = False) -> None: ...
