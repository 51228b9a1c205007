"""An approval is for the exact statement: whatever differs by one thing is another request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.approvals.binding import binding_digest
from gateway.approvals.model import ApprovalRequest, Parameter
from gateway.approvals.terms import Terms
from gateway.policy.principal import Principal

TERMS = Terms(
    rule="r", approvers=("dba",), quorum=1, hold_s=1.0, request_ttl_s=1.0, grant_ttl_s=1.0
)
names = st.text(max_size=12)
lists = st.lists(names, max_size=3, unique=True).map(tuple)
parameters = st.builds(
    Parameter,
    st.integers(0, 2**32 - 1),
    st.integers(0, 1),
    st.none() | st.binary(max_size=8),
)
principals = st.builds(
    Principal,
    issuer_id=st.just("corp"), issuer=names, subject=names, groups=lists, token_id=st.none(),
    expires_at=st.just(1.0), issued_at=st.just(0.0), agent=st.none() | names.filter(bool),
)  # fmt: skip
FIELDS: dict[str, Any] = {
    "principal": principals, "target": names, "role": names, "sql": st.binary(max_size=20),
    "params": st.lists(parameters, max_size=3).map(tuple), "objects": lists, "effects": lists,
    "search_path": lists, "policy_digest": names, "catalog_version": names, "transaction": names,
    "reason": names, "ticket": names,
}  # fmt: skip
requests = st.builds(ApprovalRequest, terms=st.just(TERMS), **FIELDS)


def _signed(request: ApprovalRequest) -> tuple[object, ...]:
    """What an approver signs, in a form that is equal exactly when all of it is."""
    who = request.principal
    return (
        who.key, who.agent or "", frozenset(who.groups), request.target, request.role, request.sql,
        request.params, request.search_path, frozenset(request.objects),
        frozenset(request.effects), request.policy_digest, request.catalog_version,
        request.transaction, request.reason, request.ticket,
    )  # fmt: skip


@given(requests, st.data())
def test_a_change_of_one_thing_is_another_request(
    request: ApprovalRequest, data: st.DataObject
) -> None:
    """Goal: nothing but the signed runs. Method: replace one field, compare the digests."""
    field = data.draw(st.sampled_from(sorted(FIELDS)))
    other = replace(request, **{field: data.draw(FIELDS[field])})
    is_same = _signed(request) == _signed(other)
    assert (binding_digest(request) == binding_digest(other)) is is_same


@given(requests, st.data())
def test_one_byte_of_the_statement(request: ApprovalRequest, data: st.DataObject) -> None:
    sql = request.sql or b"x"
    at = data.draw(st.integers(0, len(sql) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != sql[at]))
    one = replace(request, sql=sql)
    two = replace(request, sql=sql[:at] + bytes([byte]) + sql[at + 1 :])
    assert binding_digest(one) != binding_digest(two)


@given(requests, st.data())
def test_bytes_that_move_between_fields(request: ApprovalRequest, data: st.DataObject) -> None:
    """Goal: no two requests are spelled alike. Method: move a border between neighbours."""
    joined = request.reason + request.ticket
    at = data.draw(st.integers(0, len(joined)))
    other = replace(request, reason=joined[:at], ticket=joined[at:])
    is_same = _signed(request) == _signed(other)
    assert (binding_digest(request) == binding_digest(other)) is is_same
