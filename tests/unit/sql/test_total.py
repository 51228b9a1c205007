"""The walk is total: every node of the parser's grammar has a rule, or is known to be refused.

A new pglast that adds a node or a field fails here instead of slipping through.
"""

from __future__ import annotations

import inspect

from pglast import ast

from gateway.sql import analyze
from gateway.sql.expressions import handled
from gateway.sql.from_clause import RANGE_VAR
from gateway.sql.statements import QUERY_KINDS

# Nodes of analysed or planned trees, and structural ones that only occur inside a handled node.
NOT_RAW = frozenset(
    """
Aggref AlternativeSubPlan ArrayCoerceExpr ArrayExpr CallContext CaseTestExpr CoerceToDomain
CoerceToDomainValue CoerceViaIO CollateExpr ConvertRowtypeExpr Expr FieldSelect FieldStore FromExpr
FuncExpr InferenceElem InlineCodeBlock JsonConstructorExpr JsonExpr JsonReturning MergeAction
MergeSupportFunc NextValueExpr OnConflictExpr OpExpr Param PlannedStmt Query RTEPermissionInfo
RangeTblEntry RangeTblFunction RangeTblRef RawStmt RelabelType ReturningExpr RowCompareExpr
RowMarkClause ScalarArrayOpExpr SetOperationStmt SortGroupClause SubPlan SubscriptingRef TableFunc
TableSampleClause TargetEntry Var WindowClause WindowFunc WindowFuncRunCondition WithCheckOption
DistinctExpr NullIfExpr PLAssignStmt ReturnStmt
""".split()
)
STRUCTURAL = frozenset(
    """
ATAlterConstraint A_Indices A_Star AccessPriv Alias AlterTableCmd BitString Boolean
CTECycleClause CTESearchClause CaseWhen ColumnDef CommonTableExpr Constraint CreateOpClassItem
DefElem Float FunctionParameter GroupingSet IndexElem InferClause Integer IntoClause
JsonAggConstructor JsonArgument JsonBehavior JsonFormat JsonKeyValue JsonOutput JsonTableColumn
JsonTablePathSpec JsonValueExpr LockingClause MergeWhenClause ObjectWithArgs OnConflictClause
PartitionBoundSpec PartitionCmd PartitionElem PartitionRangeDatum PartitionSpec
PublicationObjSpec PublicationTable RangeTableFuncCol RangeVar ReplicaIdentityStmt ResTarget
ReturningClause ReturningOption RoleSpec SortBy StatsElem String TableLikeClause
TriggerTransition TypeName VacuumRelation ValUnion WindowDef WithClause
""".split()
)
FROM_ITEMS = frozenset(
    "JoinExpr RangeSubselect RangeFunction RangeTableSample RangeTableFunc JsonTable".split()
)


def node_names() -> set[str]:
    return {
        name
        for name, value in vars(ast).items()
        if inspect.isclass(value) and issubclass(value, ast.Node) and value is not ast.Node
    }


def test_every_node_is_accounted_for() -> None:
    statements = set(analyze._HANDLERS) | set(QUERY_KINDS)
    known = statements | set(handled()) | FROM_ITEMS | NOT_RAW | STRUCTURAL
    assert node_names() - known == set()


def test_handled_expression_fields_are_all_fields() -> None:
    """Goal: a field the grammar gains is noticed. Method: compare with the node's own slots."""
    renamed = {"A_Const": {"val", "ival", "fval", "boolval", "sval", "bsval"}}
    # Filled in by the server's analysis, never by the parser.
    later = {
        "GroupingFunc": {"refs", "agglevelsup"},
        "FuncExpr": set(),
        "NullTest": {"argisrow"},
        "SubLink": {"subLinkId"},
        "CurrentOfExpr": {"cvarno"},
        "RowExpr": set(),
        "JsonParseExpr": set(),
    }
    for name, fields in handled().items():
        node = getattr(ast, name, None)
        if node is None:  # List is a container, not a node
            assert name == "List"
            continue
        slots = node.__slots__
        own = set(slots) if not isinstance(slots, str) else {slots}
        missing = own - fields - later.get(name, set()) - renamed.get(name, set())
        assert missing == set(), name


def test_range_var_fields() -> None:
    assert set(vars(ast.RangeVar)["__slots__"]) == set(RANGE_VAR)
