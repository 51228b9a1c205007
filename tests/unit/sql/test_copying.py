"""How COPY TO STDOUT writes its rows: every way to say it, and what is not certain is refused."""

from __future__ import annotations

import pytest

from gateway.errors import NotUnderstood
from gateway.sql.facts import CopyForm
from tests.unit.sql.conftest import Analyse

FORMS = [
    ("", CopyForm()),
    ("binary", CopyForm(format="binary")),
    ("with (format 'text', null '', delimiter '|')", CopyForm(null="", delimiter="|")),
    ("csv", CopyForm(format="csv", delimiter=",", null="")),
    (
        "csv header quote '''' force quote c, a",
        CopyForm(
            format="csv",
            delimiter=",",
            null="",
            header=True,
            quote="'",
            escape="'",
            force_quote=(True, False, True),
        ),
    ),
    (
        "(format csv, escape '\\', header off, force_quote *)",
        CopyForm(format="csv", delimiter=",", null="", escape="\\", force_quote=(True, True, True)),
    ),
    ("(header 1)", CopyForm(header=True)),
]


@pytest.mark.parametrize(("options", "form"), FORMS)
def test_form(facts: Analyse, options: str, form: CopyForm) -> None:
    found = facts(f"copy app.t to stdout {options}")
    assert found.copy_form == form
    assert [output.name for output in found.outputs or ()] == ["a", "b", "c"]
    assert facts("copy app.t from stdin").copy_form is None


@pytest.mark.parametrize(
    "options",
    [
        "(format 'CSV')",
        "(format csv, delimiter '||')",
        "(format csv, quote 'é')",
        "(format csv, format text)",
        "(format csv, force_quote (nope))",
        "(format csv, header match)",
        "(header 2)",
        "(null 1)",
    ],
)
def test_what_is_not_certain_is_refused(facts: Analyse, options: str) -> None:
    with pytest.raises(NotUnderstood):
        facts(f"copy app.t to stdout {options}")


def test_outputs_are_those_of_the_list_or_the_query(facts: Analyse) -> None:
    listed = facts("copy sales.customers (email, id) to stdout").outputs or ()
    assert [(output.name, output.verdict) for output in listed] == [
        ("email", "direct"),
        ("id", "direct"),
    ]
    asked = facts("copy (select email as e, upper(name) from sales.customers) to stdout").outputs
    assert [(output.name, output.verdict) for output in asked or ()] == [
        ("e", "direct"),
        ("upper", "derived"),
    ]
