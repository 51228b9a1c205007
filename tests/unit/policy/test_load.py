"""Loading policy files: what is refused, where, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import PolicyError
from gateway.policy.bundle import Bundle
from gateway.policy.load import load_bundle
from tests.unit.policy.world import POLICY, load, write_policy


def problems_of(directory: Path, text: str) -> list[str]:
    """Return what is wrong as `line:column: message`."""
    with pytest.raises(PolicyError) as caught:
        load(directory, text)
    return [f"{p.line}:{p.column}: {p.message}" for p in caught.value.problems]


def test_good_policy_loads_and_survives_its_json_form(tmp_path: Path) -> None:
    """Goal: processes exchange exactly what was loaded. Method: to_json and back."""
    bundle = load(tmp_path)
    again = Bundle.from_json(bundle.to_json())
    assert again == bundle
    assert again.to_json() == bundle.to_json()
    assert len(bundle.digest) == 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\nmod: enforce\n", '2:1: unknown key "mod"; did you mean "mode"?'),
        ("version: 1\nmode: on\n", "2:7: mode: input should be 'enforce' or 'shadow'"),
        ("mode: enforce\n", '1:1: the key "version" is missing'),
        ("version: 2\n", "1:10: version: input should be 1"),
        ("version: 1\nversion: 1\n", '2:1: key "version" is there twice, first in line 1'),
        ("version: 1\nmode: &x enforce\n", "2:7: anchors are not allowed (&x)"),
        ("version: 1\nmode: !!str enforce\n", "2:7: tags are not allowed (tag:yaml.org,2002:str)"),
        ("version: 1\n---\nversion: 1\n", "2:1: only one YAML document per file"),
        ("", "1:1: the file is empty; it needs at least `version: 1`"),
        ("- 1\n", "1:1: a policy file is a mapping that begins with version: 1"),
        (
            "version: 1\ngroups: {a: {from: [x], kind: agent}}\n",
            '2:21: "x" is not issuer-id:group',
        ),
        (
            "version: 1\ngroups: {a: {from: [crop:x]}}\n",
            '2:21: "crop" is no issuer of the configuration; did you mean "corp"?',
        ),
        (
            "version: 1\ndenies:\n  - {id: d, to: ['*'], effects: [egres.*]}\n",
            "3:34: denies.effects: 'egres.*' is no effect and covers none",
        ),
        (
            "version: 1\nmasks:\n  - {id: m, columns: [s.t.c], with: {kind: scann}}\n",
            "3:37: masks.with: 'scann' is no mask kind; did you mean \"scan\"?",
        ),
        (
            "version: 1\nmasks:\n  - {id: m, columns: [s.t], with: {kind: email}}\n",
            "3:23: masks.columns: 's.t' is not schema.table.column",
        ),
        (
            "version: 1\nmasks:\n  - {id: m, columns: [s.t.c], with: {kind: email}, on_predicate: equals}",
            "3:66: masks.on_predicate: input should be 'deny', 'equality' or 'allow'",
        ),
        (
            "version: 1\nmasks:\n  - {id: m, columns: {tga: x}, with: {kind: email}}\n",
            '3:23: unknown key "tga"; did you mean "tag"?',
        ),
        (
            "version: 1\nlimits:\n  - {id: l, to: ['*'], per_statement: {bytes: 8}}\n",
            "3:47: limits.per_statement.bytes: 8 has no unit",
        ),
        (
            "version: 1\ngrants:\n  - {id: g, to: ['*'], target: order, level: read, schema: s}\n",
            '3:32: "order" is no target of the configuration; did you mean "orders"?',
        ),
        (
            "version: 1\ngrants:\n  - {id: g, to: ['*'], target: orders, level: read, schema: pg_catalog}\n",
            "3:61: grants.schema: 'pg_catalog' is PostgreSQL's own; its relations come",
        ),
        (
            "version: 1\ngrants:\n  - {id: g, to: ['*'], target: orders, effects: ['*']}\n",
            "3:5: grants: '*' cannot be granted",
        ),
        (
            "version: 1\ngrants:\n  - {id: g, to: ['*'], target: orders, functions: ['pg_catalog.*']}\n",
            "3:5: grants: 'pg_catalog.*': name functions schema.function; * only in the last part",
        ),
    ],
)
def test_mistake_is_named_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    """Goal: a policy owner finds the mistake at once. Method: one mistake per text."""
    assert any(line.startswith(expected) for line in problems_of(tmp_path, text)), problems_of(
        tmp_path, text
    )


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    """Goal: no mistake hides another. Method: two files, each with two mistakes."""
    write_policy(tmp_path, "version: 1\nmod: x\nmode: y\n", "a.yaml")
    write_policy(tmp_path, "version: 1\ntag: x\ngroups: []\n", "b.yml")
    with pytest.raises(PolicyError) as caught:
        load_bundle(tmp_path, targets=["orders"], issuers=["corp"])
    files = [Path(problem.file).name for problem in caught.value.problems]
    assert sorted(files) == ["a.yaml", "a.yaml", "b.yml", "b.yml"]


def test_on_and_yes_are_text(tmp_path: Path) -> None:
    """Goal: YAML 1.1 booleans cannot slip into a rule. Method: no_where: yes."""
    text = POLICY.replace("no_where: true", "no_where: yes")
    # pydantic would take the word "yes" for true, were the field not strict.
    assert any("no_where" in line for line in problems_of(tmp_path, text))


def test_ids_are_unique_over_all_sections(tmp_path: Path) -> None:
    """Goal: a record that names a rule names one rule."""
    text = POLICY.replace("{id: no-egress", "{id: read-sales")
    assert any('the id "read-sales" is used in' in line for line in problems_of(tmp_path, text))


def test_agents_cannot_be_named_as_approvers(tmp_path: Path) -> None:
    """Goal: no agent approves. Method: a guard's `from` names an agents' group."""
    text = POLICY.replace("approval: {from: [dba], quorum: 2}", "approval: {from: [agents]}")
    assert any("agents never approve" in line for line in problems_of(tmp_path, text))


def test_group_defined_in_two_files_is_refused(tmp_path: Path) -> None:
    """Goal: merging never widens a group silently."""
    write_policy(tmp_path, POLICY)
    write_policy(
        tmp_path, "version: 1\ngroups: {dba: {from: ['corp:other'], kind: human}}\n", "z.yaml"
    )
    with pytest.raises(PolicyError, match=r"is defined in .*policy\.yaml too"):
        load_bundle(tmp_path, targets=["orders"], issuers=["corp"])


def test_subdirectories_and_other_files_are_not_read(tmp_path: Path) -> None:
    """Goal: an example below the directory activates nothing."""
    bundle = load(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "x.yaml").write_text("no: policy")
    (tmp_path / ".hidden.yaml").write_text("no: policy")
    (tmp_path / "README.md").write_text("no policy")
    assert load(tmp_path).digest == bundle.digest


def test_empty_or_missing_directory_is_an_error(tmp_path: Path) -> None:
    """Goal: a wrong path does not become an empty policy."""
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PolicyError):
            load_bundle(directory, targets=[], issuers=[])


def test_digest_ignores_spelling_and_order_and_sees_meaning(tmp_path: Path) -> None:
    """Goal: the digest is of what the policy says. Method: comment, reorder, then change."""
    digest = load(tmp_path).digest
    lines = POLICY.splitlines()
    first = next(i for i, line in enumerate(lines) if "id: read-sales" in line)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    assert load(tmp_path, "# a comment\n" + "\n".join(lines)).digest == digest
    assert load(tmp_path, POLICY.replace("keep_last: 4", "keep_last: 3")).digest != digest


def test_damaged_active_copy_is_refused(tmp_path: Path) -> None:
    """Goal: a half-written or edited activation never decides. Method: edit, cut, other format."""
    data = load(tmp_path).to_json()
    for broken in (data.replace(b'"quorum":2', b'"quorum":1'), data[:-10], b"{}", b"[]", b""):
        with pytest.raises(PolicyError):
            Bundle.from_json(broken)


def test_hostile_yaml_ends_quickly(tmp_path: Path) -> None:
    """Goal: no alias bomb, no deep recursion, no control characters."""
    bomb = "version: 1\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    for text in (bomb, "[" * 5000, "- " * 5000, "version: 1\nx: \x01\n"):
        assert problems_of(tmp_path, text)
