"""What a policy file may say: one class per section, each refusing what it does not know.

The classes hold only what can be judged from one file. References between files are checked in
`check`, columns and types against a live catalog in `compile`. `model_dump(by_alias=True)` gives
back what the loader accepts, so that a bundle can be stored and read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

from gateway.limits import APPROVAL_HOLD_S_MAX
from gateway.policy.fields import (
    Columns,
    Duration,
    Effects,
    Groups,
    HourOfDay,
    Name,
    Schema,
    Section,
    Size,
    Tables,
    TimeZone,
    one_or_more,
)
from gateway.policy.limitmodel import Limit
from gateway.policy.names import SYSTEM_SCHEMAS, UNKNOWN, nearest
from gateway.policy.profile import Level

Mode = Literal["enforce", "shadow"]

_MASK_PARAMETERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # required, optional
    "null": ((), ()),
    "constant": (("value",), ()),
    "redact": ((), ()),
    "partial": ((), ("keep_first", "keep_last")),
    "email": ((), ()),
    "hash": ((), ("domain",)),
    "bucket": (("size",), ()),
    "truncate": (("to",), ()),
    "zero": ((), ()),
    "uuid": ((), ("domain",)),
    "json": ((), ("paths", "keep")),
    "scan": ((), ()),
}
MASK_KINDS = tuple(_MASK_PARAMETERS)


class Group(Section):
    """A policy group: which token groups are in it, and whether they are agents or people."""

    from_: Groups = Field(alias="from")
    kind: Literal["agent", "human"] = "agent"


class WriteColumns(Section):
    """The columns that the verbs named here may write. Verbs not named are not narrowed."""

    insert: Annotated[tuple[StrictStr, ...], AfterValidator(one_or_more)] | None = None
    update: Annotated[tuple[StrictStr, ...], AfterValidator(one_or_more)] | None = None


class Scope(Section):
    """The relations a rule is about: all on the target when nothing is given."""

    schema_: Schema | None = Field(default=None, alias="schema")
    tables: Tables | None = None
    except_tables: Tables = ()

    @model_validator(mode="after")
    def _check_scope(self) -> Scope:
        if self.schema_ is None and (self.tables is not None or self.except_tables):
            msg = "tables need a schema"
            raise ValueError(msg)
        if self.tables == ():
            msg = "tables is empty; leave it out for all tables of the schema"
            raise ValueError(msg)
        return self


class Grant(Scope):
    """Allow a level, single effects or functions on a target."""

    id: Name
    to: Groups
    target: StrictStr
    level: Level | None = None
    effects: Effects | None = None
    functions: Tables = ()
    columns: WriteColumns | None = None

    @model_validator(mode="after")
    def _check_grant(self) -> Grant:
        if self.level is None and self.effects is None and not self.functions:
            msg = "a grant needs a level, effects or functions"
            raise ValueError(msg)
        for pattern in self.effects or ():
            if pattern in {"*", UNKNOWN} or pattern.startswith("function."):
                msg = f"{pattern!r} cannot be granted" + (
                    "; list the functions under functions" if "function" in pattern else ""
                )
                raise ValueError(msg)
        for name in self.functions:
            schema, dot, function = name.partition(".")
            if not dot or "*" in schema or (schema in SYSTEM_SCHEMAS and "*" in function):
                msg = f"{name!r}: name functions schema.function; * only in the last part"
                raise ValueError(msg)
        about_relations = self.level is not None or any(
            pattern.startswith(("rows.", "table.")) for pattern in self.effects or ()
        )
        if about_relations and self.schema_ is None:
            msg = "a grant of a level or of effects on tables needs a schema"
            raise ValueError(msg)
        return self


class Deny(Scope):
    """Refuse effects, whatever is granted or approved."""

    id: Name
    to: Groups
    effects: Effects
    target: StrictStr | None = None


class Condition(Section):
    """One reason to hold a statement. Exactly one key."""

    no_where: StrictBool | None = None
    estimated_rows_over: Annotated[StrictInt, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check_condition(self) -> Condition:
        if [self.no_where, self.estimated_rows_over].count(None) != 1:
            msg = "a condition has exactly one of no_where, estimated_rows_over"
            raise ValueError(msg)
        return self


class When(Section):
    """Conditions joined by `any` or by `all`."""

    any: tuple[Condition, ...] | None = None
    all: tuple[Condition, ...] | None = None

    @model_validator(mode="after")
    def _check_when(self) -> When:
        if (self.any is None) == (self.all is None) or not (self.any or self.all):
            msg = "when holds either any or all, with at least one condition"
            raise ValueError(msg)
        return self


class Window(Section):
    """When approvals may be given: hours of some days, over midnight when `to` is earlier."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = (
        "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    )  # fmt: skip
    from_: HourOfDay = Field(alias="from")
    to: HourOfDay
    timezone: TimeZone = "UTC"


class Preview(Section):
    """What is found out about a held statement for the reviewer, beside its plan."""

    dry_run_count: StrictBool = False


class Approval(Section):
    """Who may approve, when and how, and for how long everything stays open."""

    from_: Groups = Field(alias="from")
    quorum: Annotated[StrictInt, Field(ge=1, le=20)] = 1
    hold: Annotated[Duration, Field(le=APPROVAL_HOLD_S_MAX)] = 20.0
    request_ttl: Duration = 1_800.0
    grant_ttl: Duration = 600.0
    comment: Literal["optional", "required"] = "optional"
    login_within: Duration | None = None
    window: Window | None = None
    preview: Preview = Preview()
    max_rows_seen: Annotated[StrictFloat | StrictInt, Field(ge=1, le=1_000)] | None = None


class Guard(Scope):
    """Hold statements with these effects until people approve."""

    id: Name
    to: Groups
    effects: Effects
    target: StrictStr | None = None
    when: When | None = None
    then: Literal["approve"]
    approval: Approval


JsonPaths = Annotated[tuple[StrictStr, ...], AfterValidator(one_or_more)]


class MaskWith(Section):
    """The kind of a mask and its parameters."""

    kind: StrictStr
    value: StrictStr | StrictInt | StrictFloat | StrictBool | None = None
    keep_first: Annotated[StrictInt, Field(ge=0, le=64)] = 0
    keep_last: Annotated[StrictInt, Field(ge=0, le=64)] = 0
    domain: Name | None = None
    size: Annotated[StrictInt, Field(gt=0)] | Annotated[StrictFloat, Field(gt=0)] | None = None
    to: Literal["year", "quarter", "month", "week", "day", "hour", "minute"] | None = None
    paths: JsonPaths | None = None
    keep: JsonPaths | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> MaskWith:
        if self.kind not in MASK_KINDS:
            msg = f"{self.kind!r} is no mask kind" + nearest(self.kind, MASK_KINDS)
            raise ValueError(msg)
        required, optional = _MASK_PARAMETERS[self.kind]
        given = self.model_fields_set - {"kind"}
        for name in required:
            if name not in given:
                msg = f"mask kind {self.kind!r} needs {name}"
                raise ValueError(msg)
        if extra := given - set(required) - set(optional):
            msg = f"mask kind {self.kind!r} takes no {_list(sorted(extra))}"
            raise ValueError(msg)
        if self.kind == "json" and (self.paths is None) == (self.keep is None):
            msg = "mask kind 'json' needs either paths or keep"
            raise ValueError(msg)
        return self

    def params(self, mask_id: str) -> dict[str, Any]:
        """Return the parameters as the row rewriter takes them."""
        if self.kind == "constant":
            return {"value": self.value}
        if self.kind == "partial":
            return {"keep_first": self.keep_first, "keep_last": self.keep_last}
        if self.kind in {"hash", "uuid"}:
            return {"domain": self.domain or mask_id}
        if self.kind == "bucket":
            return {"size": self.size}
        if self.kind == "truncate":
            return {"to": self.to}
        if self.kind == "json":
            return {"paths": list(self.paths)} if self.paths else {"keep": list(self.keep or ())}
        return {}


class TagRef(Section):
    """The columns that carry a tag."""

    tag: StrictStr


def _columns_form(value: object) -> str:
    return "tag" if isinstance(value, dict | TagRef) else "list"


MaskColumns = Annotated[
    Annotated[Columns, AfterValidator(one_or_more), Tag("list")] | Annotated[TagRef, Tag("tag")],
    Discriminator(_columns_form),
]


class Mask(Section):
    """Hide columns from everyone but the groups under `except`."""

    id: Name
    columns: MaskColumns
    except_: tuple[StrictStr, ...] = Field(default=(), alias="except")
    with_: MaskWith = Field(alias="with")
    target: StrictStr | None = None
    on_derived: Literal["deny", "allow"] = "deny"
    on_predicate: Literal["deny", "equality", "allow"] = "deny"


class Audit(Section):
    """What the trail holds, and what happens when it cannot be written."""

    sql: Literal["full"] = "full"
    params: Literal["full", "masked", "none"] = "full"
    on_failure: Literal["refuse"] = "refuse"


class Recording(Section):
    """How much of each result is kept, as the client saw it."""

    rows: Literal["none", "sample", "all"] = "none"
    max_bytes: Size | None = None


class Retention(Section):
    """How long audit and recordings are kept."""

    audit: Duration | None = None
    recordings: Duration | None = None


class TestAs(Section):
    """Who runs the test's statement: policy groups, and the profile asked for."""

    __test__ = False
    groups: tuple[StrictStr, ...]
    requested: StrictStr = ""


class Expect(Section):
    """What must come out. Only what is given is compared."""

    decision: Literal["allow", "deny", "approve"]
    rule: StrictStr | None = None
    error: StrictStr | None = None
    masks: tuple[StrictStr, ...] | None = None


class PolicyTest(Section):
    """One statement with the decision it must get."""

    as_: TestAs = Field(alias="as")
    target: StrictStr
    sql: StrictStr
    expect: Expect
    search_path: tuple[StrictStr, ...] | None = None


class Policy(Section):
    """One policy file, and also the merged whole of a directory."""

    version: Literal[1]
    mode: Mode = "enforce"
    groups: dict[Name, Group] = Field(default_factory=dict)
    tags: dict[Name, Columns] = Field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    denies: tuple[Deny, ...] = ()
    guards: tuple[Guard, ...] = ()
    masks: tuple[Mask, ...] = ()
    limits: tuple[Limit, ...] = ()
    audit: Audit = Audit()
    recording: Recording = Recording()
    retention: Retention = Retention()
    tests: tuple[PolicyTest, ...] = ()

    def mask_columns(self, mask: Mask) -> tuple[str, ...]:
        """Return the columns of `mask` as written, its tag resolved."""
        if isinstance(mask.columns, TagRef):
            return self.tags.get(mask.columns.tag, ())
        return mask.columns


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
