"""Check a described result against its decision, and build the plan that masks its rows.

The decision says per output column what to do; the server says which table column each one is.
Where the two disagree the analyser erred or the server changed underneath: nothing of the result
may leave. A column without origin (an expression) proves nothing and follows the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from _fastpath.copyout import CopyOut
from _fastpath.datarow import CellMask, ColumnDesc, MaskPlan, parse_row_description
from _fastpath.errors import CrossCheckError, FrameError
from _fastpath.statements import Verdict
from gateway import metrics
from gateway.policy.profile import MaskSpec, Profile
from gateway.session.maskkey import MaskKeys

_COPY_RESPONSE_SIZE = 3

_MASKED = metrics.MASKED_RESULTS.slot()


@dataclass(frozen=True, slots=True)
class ResultPlanner:
    """What the relay asks when a result begins: the plan that masks its rows, or None."""

    profile: Profile
    mask_keys: MaskKeys

    def __call__(
        self, shape: bytes, formats: bytes | None, verdict: Verdict, index: int
    ) -> MaskPlan | None:
        """Plan a result that has a RowDescription. See `plan_result`."""
        return plan_result(self.profile, self.mask_keys, shape, formats, verdict, index)

    def plan_copy(self, response: bytes, verdict: Verdict, index: int) -> CopyOut | None:
        """Plan a COPY from its CopyOutResponse payload. See `plan_copy`."""
        return plan_copy(self.profile, self.mask_keys, response, verdict, index)


def make_planner(profile: Profile, mask_keys: MaskKeys) -> ResultPlanner:
    """Return the planner the relay calls once per result shape and once per COPY."""
    return ResultPlanner(profile, mask_keys)


def plan_copy(
    profile: Profile, mask_keys: MaskKeys, response: bytes, verdict: Verdict, index: int
) -> CopyOut | None:
    """Return what masks the COPY of statement `index`, None when no column is masked.

    Raises CrossCheckError when the server starts another COPY than the decided one. There is no
    column identity to check against: only number of columns and format.
    """
    statements = verdict.decision.statements
    if index >= len(statements):
        raise CrossCheckError("more results than decided statements")
    outputs, form = statements[index].outputs, statements[index].copy_form
    if outputs is None:
        return None
    if form is None or len(response) < _COPY_RESPONSE_SIZE:
        raise CrossCheckError("a COPY that was decided without its format")
    if int.from_bytes(response[1:3], "big") != len(outputs):
        raise CrossCheckError("COPY of another number of columns than decided")
    if (response[0] == 1) != (form.format == "binary"):
        raise CrossCheckError("COPY in another format than decided")
    if all(decided < 0 for decided in outputs):
        return None
    cells = [
        None if decided < 0 else _copy_cell(profile.masks[decided], response[0], mask_keys)
        for decided in outputs
    ]
    return CopyOut(
        _build(cells),
        form.format,
        delimiter=form.delimiter.encode(),
        null=form.null.encode(),
        quote=form.quote.encode(),
        escape=form.escape.encode(),
        header=form.header,
        force_quote=form.force_quote,
    )


def _copy_cell(spec: MaskSpec, wire_format: int, mask_keys: MaskKeys) -> CellMask:
    column = ColumnDesc(b"", 0, 0, spec.type_oid, -1, spec.typmod, wire_format)
    return _cell(spec, column, wire_format, mask_keys)


def plan_result(
    profile: Profile,
    mask_keys: MaskKeys,
    shape: bytes,
    formats: bytes | None,
    verdict: Verdict,
    index: int,
) -> MaskPlan | None:
    """Return the plan for statement `index` of `verdict`, None when no column is masked.

    `shape` is a RowDescription payload; `formats` the result formats of Bind (count first), or
    None when the shape's own hold. Raises CrossCheckError when the result is not the decided one.
    """
    try:
        columns = parse_row_description(shape)
    except FrameError as error:
        raise CrossCheckError(f"malformed RowDescription: {error}") from error
    statements = verdict.decision.statements
    if verdict.decision.action == "local" and not any(column.table_oid for column in columns):
        return None  # the gateway's own statement, which reads no table
    if index >= len(statements):
        raise CrossCheckError("more results than decided statements")
    outputs = statements[index].outputs
    if outputs is not None and len(outputs) != len(columns):
        raise CrossCheckError(f"{len(columns)} columns described, {len(outputs)} decided")
    cells: list[CellMask | None] = []
    for position, column in enumerate(columns):
        decided = -1 if outputs is None else outputs[position]
        if column.table_oid and column.table_oid not in profile.relations:
            raise CrossCheckError(f"output column {position + 1} is of a table not in the catalog")
        on_wire = profile.masked.get((column.table_oid, column.attnum))
        if on_wire is not None and on_wire != decided:
            raise CrossCheckError(f"output column {position + 1} is masked and was decided clear")
        if decided < 0:
            cells.append(None)
            continue
        wire_format = column.format if formats is None else _format_of(formats, position)
        cells.append(_cell(profile.masks[decided], column, wire_format, mask_keys))
    if all(cell is None for cell in cells):
        return None
    metrics.inc(_MASKED)
    return _build(cells)


def _build(cells: Sequence[CellMask | None]) -> MaskPlan:
    try:
        return MaskPlan(cells)
    except ValueError as error:
        raise CrossCheckError(f"a mask does not fit its column: {error}") from error


def _cell(spec: MaskSpec, column: ColumnDesc, wire_format: int, mask_keys: MaskKeys) -> CellMask:
    domain = str(spec.params.get("domain", "default"))
    return CellMask(
        kind=spec.kind,
        params=dict(spec.params),
        type_oid=column.type_oid,
        typmod=column.typmod,
        format=wire_format,
        notnull=spec.notnull,
        key=mask_keys.key_of(domain),
        text_like=spec.text_like,
        labels=spec.labels,
        element_oid=spec.element_oid,
    )


def _format_of(formats: bytes, position: int) -> int:
    """The result format of one column (protocol: none, one for all, or one each)."""
    count = int.from_bytes(formats[:2], "big")
    if count == 0:
        return 0
    at = 2 if count == 1 else 2 + 2 * position
    if at + 2 > len(formats):
        raise CrossCheckError("fewer result formats than columns")
    return int.from_bytes(formats[at : at + 2], "big")
