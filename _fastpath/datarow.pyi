from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import disjoint_base

from _fastpath.maskcells import CellMask as CellMask
from _fastpath.maskcells import fitting_kinds as fitting_kinds
from _fastpath.maskcells import mask_fits as mask_fits

__all__ = [
    "CellMask",
    "ColumnDesc",
    "MaskPlan",
    "fitting_kinds",
    "mask_fits",
    "parse_row_description",
]

class ColumnDesc(NamedTuple):
    name: bytes
    table_oid: int
    attnum: int
    type_oid: int
    typlen: int
    typmod: int
    format: int

def parse_row_description(payload: bytes) -> list[ColumnDesc]: ...

@disjoint_base
class MaskPlan:
    is_clear: bool
    def __init__(self, columns: Sequence[CellMask | None]) -> None: ...
    def rewrite_bytes(self, rows: bytes) -> bytes: ...
