from collections.abc import Callable

from _fastpath.cellmask import CellMasker

FRACTION_MAX: int
STEP_MAX: int

class Bucket(CellMasker): ...

class IntBucket(Bucket):
    def __init__(
        self, step: int, width: int, *, is_binary: bool, is_unsigned: bool = False
    ) -> None: ...

class FloatBucket(Bucket):
    def __init__(
        self, step: int, width: int, slow: Callable[[bytes], bytes], *, is_binary: bool
    ) -> None: ...

class NumericBucket(Bucket):
    def __init__(
        self,
        step: int,
        step_scale: int,
        scale: int,
        lowest: int,
        slow: Callable[[bytes], bytes],
        *,
        is_binary: bool,
    ) -> None: ...
