"""Where a database credential comes from, and that no error repeats it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Credential
from gateway.errors import ConfigError
from gateway.upstream.secrets import resolve_secret


def test_sources(tmp_path: Path) -> None:
    """Goal: environment, file and command give the same bytes, one newline less."""
    path = tmp_path / "secret"
    path.write_bytes(b"pass word\n")
    assert resolve_secret(Credential("none"), {}) == b""
    assert resolve_secret(Credential("env", "PW"), {"PW": "pass word"}) == b"pass word"
    assert resolve_secret(Credential("file", str(path)), {}) == b"pass word"
    assert resolve_secret(Credential("command", f"cat {path}"), {}) == b"pass word"


@pytest.mark.parametrize(
    "credential",
    [
        Credential("env", "NOT_SET"),
        Credential("env", "EMPTY"),
        Credential("file", "/nonexistent"),
        Credential("file", "/dev/null"),
        Credential("command", "false"),
        Credential("command", "true"),
        Credential("command", ""),
        Credential("command", "'unbalanced"),
        Credential("command", "/nonexistent"),
        Credential("command", "sh -c 'echo topsecret; echo topsecret >&2; exit 3'"),
        Credential("command", "printf 'topsecret\\0x'"),
        Credential("vault", "x"),  # `logins` asks Vault
    ],
)
def test_failures_do_not_repeat_the_secret(credential: Credential) -> None:
    """Goal: one ConfigError naming the source."""
    with pytest.raises(ConfigError) as caught:
        resolve_secret(credential, {"EMPTY": ""})
    assert "topsecret" not in str(caught.value)
    assert "credential" in str(caught.value)


def test_command_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a command that hangs is given up."""
    monkeypatch.setattr("gateway.upstream.secrets.SECRET_COMMAND_TIMEOUT_S", 0.1)
    with pytest.raises(ConfigError, match="took over"):
        resolve_secret(Credential("command", "sleep 5"), {})
