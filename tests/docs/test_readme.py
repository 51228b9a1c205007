"""What the README tells people to type does what it says there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from gateway.config import load_config
from gateway.demo.stand import AGENT, REVIEWER, TARGET, Stand
from gateway.identity.keys import KeyStore
from gateway.identity.local import LocalIssuer
from gateway.identity.verify import Verifier
from gateway.policy.load import load_bundle
from tests.support.gateway import wait_until

README = (Path(__file__).parents[2] / "README.md").read_text()
POSTERN = f"{shlex.quote(sys.executable)} -m gateway.cli.main"


@dataclass
class Typed:
    """One command of a console block and what the README says it prints."""

    command: str
    output: str


def section(title: str) -> str:
    """The text of one section."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no section {title}"
    return found[1]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE)


def typed(block: str) -> list[Typed]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Typed(*part.split("\n", 1)) for part in parts]


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    made = Stand()
    try:
        made.open(lambda part: None)
        yield made
    finally:
        made.close()


def environment(stand: Stand) -> dict[str, str]:
    """What the lines to paste set, for both people."""
    return {
        **os.environ,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(stand.port),
        "PGDATABASE": TARGET,
        "PGUSER": "agent",
        "PGPASSWORD": stand.token_file(AGENT[0]).read_text(),
        "POSTERN_CONFIG": str(stand.config),
        "POSTERN_TOKEN_FILE": str(stand.token_file(REVIEWER[0])),
    }


def start(command: str, stand: Stand) -> subprocess.Popen[str]:
    command = command.replace(".venv/bin/postern", POSTERN)
    return subprocess.Popen(
        command, shell=True, env=environment(stand), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def assert_same(printed: str, told: str) -> None:
    """Line by line up to blanks; `...` stands for anything, also for several lines."""
    pattern = re.escape(squeezed(told)).replace(re.escape("..."), ".*")
    assert re.fullmatch(pattern, squeezed(printed), re.DOTALL), (
        f"printed:\n{printed}\ntold:\n{told}"
    )


def squeezed(text: str) -> str:
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def test_tour(stand: Stand) -> None:
    """Every command of the tour in its order; what waits for a person is run beside the rest."""
    steps = [step for block in blocks("A tour with psql", "console") for step in typed(block)]
    assert len(steps) >= 8
    held: list[tuple[subprocess.Popen[str], Typed]] = []
    for step in steps:
        if "is pending" in step.output:
            held.append((start(step.command, stand), step))
            wait_until(lambda: pending(stand), 10, "the statement waits")
            continue
        command = step.command.replace(" ID ", f" {pending(stand)} ")
        process = start(command, stand)
        assert_same(process.communicate(timeout=30)[0], step.output)
        if "approvals approve" in command:
            for waiting, told in held:
                assert_same(waiting.communicate(timeout=30)[0], told.output)
    assert held, "the tour shows a statement that waits"


def pending(stand: Stand) -> str:
    """The id of the request that waits, if one does."""
    process = start(".venv/bin/postern approvals list --json", stand)
    items = orjson.loads(process.communicate(timeout=30)[0])["items"]
    return str(items[0]["id"]) if items else ""


def test_a_gateway_of_your_own(tmp_path: Path) -> None:
    """The files load, and the issuer made local mints tokens the verifier takes."""
    title = "A gateway of your own"
    (toml,), (policy,) = blocks(title, "toml"), blocks(title, "yaml")
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(policy)
    path = tmp_path / "postern.toml"
    path.write_text(toml.replace('id = "corp"', 'id = "corp"\nkind = "local"'))
    config = load_config(
        path, {"ORDERS_PASSWORD": "secret", "POSTERN_DATA_DIR": str(tmp_path / "d")}
    )
    bundle = load_bundle(policies, targets=config.targets, issuers=["corp"])
    assert bundle.digest
    token = LocalIssuer(config.data_dir, config.issuers[0]).mint("me", ["agents-billing"], 3600)
    keys = KeyStore(config.issuers, config.data_dir)
    principal = Verifier(config.issuers, keys).verify(token)
    assert principal.groups == ("corp:agents-billing",)


def test_the_oidc_form_loads_too(tmp_path: Path) -> None:
    path = tmp_path / "postern.toml"
    path.write_text(blocks("A gateway of your own", "toml")[0])
    assert load_config(path, {"ORDERS_PASSWORD": "secret"}).issuers[0].kind == "oidc"
