"""The development issuer and `postern token mint`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli.token import command
from gateway.config import Issuer, load_config
from gateway.errors import ConfigError
from gateway.identity.keys import KeyStore
from gateway.identity.local import LocalIssuer
from gateway.identity.verify import Verifier

TOML = """
data_dir = "data"
[[issuers]]
id = "dev"
kind = "local"
issuer = "postern:dev"
groups = {claim = "realm.roles"}
"""


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """A configuration with one local issuer."""
    path = tmp_path / "postern.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def issuer(config_path: Path) -> Issuer:
    """The issuer of that configuration."""
    return load_config(config_path, {}).issuers[0]


def test_mint_and_verify(tmp_path: Path, issuer: Issuer) -> None:
    """Goal: what is minted verifies, groups at their nested place, ids signed."""
    store = KeyStore([issuer], tmp_path)
    verifier = Verifier([issuer], store)
    local = LocalIssuer(tmp_path, replace(issuer, required_claims={"env": "dev"}))
    token = local.mint("agent", ["g", "h"], 60, {"agent": "bot", "run_id": "r1"})
    principal = verifier.verify(token)
    assert principal.groups == ("dev:g", "dev:h")
    assert (principal.agent, principal.run_id) == ("bot", "r1")
    assert principal.token_id
    assert principal.expires_at - principal.issued_at == 60
    generation = store.generation
    verifier.verify(LocalIssuer(tmp_path, issuer).mint("other", [], 60))
    assert store.generation == generation


def test_key_is_private(tmp_path: Path, issuer: Issuer) -> None:
    """Goal: 0600 from the start, and a key that others can read is not used."""
    local = LocalIssuer(tmp_path, issuer)
    local.mint("a", [], 60)
    key = tmp_path / "issuers" / "dev.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (tmp_path / "keys" / "dev.json").read_bytes()
    assert '"d"' not in (tmp_path / "keys" / "dev.json").read_text()
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="open to others"):
        local.mint("a", [], 60)


def test_refusals(tmp_path: Path, issuer: Issuer) -> None:
    """Goal: only what the gateway would accept is minted."""
    local = LocalIssuer(tmp_path, issuer)
    for subject, ttl_s in (("", 60), ("a", 0), ("a", -1), ("a", 10**9)):
        with pytest.raises(ValueError, match="ttl"):
            local.mint(subject, [], ttl_s)
    with pytest.raises(ValueError, match="sub"):
        local.mint("a", [], 60, {"sub": "root"})
    bad: list[dict[str, Any]] = [
        {"kind": "oidc"},
        {"algorithms": ("RS256",)},
        {"jwks_file": tmp_path / "x"},
    ]
    for changes in bad:
        with pytest.raises(ConfigError):
            LocalIssuer(tmp_path, replace(issuer, **changes))
    (tmp_path / "issuers").mkdir(exist_ok=True)
    (tmp_path / "issuers" / "dev.pem").write_text("nonsense")
    (tmp_path / "issuers" / "dev.pem").chmod(0o600)
    with pytest.raises(ConfigError):
        local.mint("a", [], 60)


def test_command_prints_only_the_token(config_path: Path, issuer: Issuer) -> None:
    """Goal: `PGPASSWORD=$(postern token mint ...)` works."""
    words = ["mint", "-c", str(config_path), "--subject", "a", "--group", "g", "--group", "h"]
    result = CliRunner().invoke(command, [*words, "--ttl", "15m", "--run-id", "r"])
    assert result.exit_code == 0, result.output
    token = result.stdout.removesuffix("\n")
    data_dir = load_config(config_path, {}).data_dir
    principal = Verifier([issuer], KeyStore([issuer], data_dir)).verify(token)
    assert principal.groups == ("dev:g", "dev:h")
    assert principal.expires_at - principal.issued_at == 900
    assert CliRunner().invoke(command, [*words, "--ttl", "soon"]).exit_code == 1
    assert isinstance(CliRunner().invoke(command, [*words, "--issuer", "x"]).exception, ConfigError)
