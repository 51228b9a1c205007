"""The demo as a person runs it: it shows what it should, and is gone without a trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.screen import Screen
from gateway.demo.show import run_demo
from gateway.demo.stand import DemoError, Stand
from tests.support.gateway import wait_until

COMMAND = [sys.executable, "-m", "gateway.cli.main", "demo"]
ROOT = Path(__file__).parents[3]


def start(directory: Path, *options: str) -> subprocess.Popen[bytes]:
    with (directory / "out").open("wb") as out:
        # Python leaves an ignored SIGINT ignored, and a runner in the background has it so.
        return subprocess.Popen(
            [*COMMAND, *options], cwd=ROOT, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, "TMPDIR": str(directory)},
        )  # fmt: skip


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short directory that the database's user can pass through."""
    directory = tmp_path_factory.mktemp("d")
    for path in (directory, directory.parent, directory.parent.parent):
        path.chmod(path.stat().st_mode | 0o011)
    return directory


def printed(place: Path) -> str:
    return (place / "out").read_text()


def leftovers(place: Path) -> list[str]:
    """Directories, and processes that name one of them on their command line."""
    left = [path.name for path in place.glob("postern-demo-*")]
    names = re.findall(r"postern-demo-\w+", printed(place))
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(place) in line or any(name in line for name in names):
            left.append(line)
    return left


def test_once(place: Path) -> None:
    """All of it in 20 seconds of one machine to itself; the assertion leaves room for others."""
    process = start(place, "--once")
    assert process.wait(50) == 0, printed(place)
    text = printed(place)
    for part in ("***@***.***", "PN301", "PN307", "PN401", "DELETE 12", "NOT CLEAN"):
        assert part in text, part
    assert re.search(r"verify +clean", text)
    assert "All 6 steps did what they should" in text
    assert not leftovers(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_told(place: Path, number: signal.Signals) -> None:
    process = start(place)
    wait_until(lambda: "kill -HUP" in printed(place), 40, "the lines to paste")
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(20) == 0
    assert not leftovers(place)


@pytest.mark.parametrize("part", ["PostgreSQL with sample data", "gateway and control plane"])
def test_interrupted_while_preparing(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt in the middle of the preparation leaves nothing behind either."""
    seen: list[Path] = []
    open_stand = Stand.open

    def interrupted(stand: Stand, told: object) -> None:
        def tell(text: str) -> None:
            if text == part:
                seen.append(stand.directory)
                os.kill(os.getpid(), signal.SIGTERM)

        open_stand(stand, tell)

    monkeypatch.setattr(Stand, "open", interrupted)
    handlers = {number: signal.getsignal(number) for number in (1, 2, 15)}
    try:
        assert run_demo(once=True) == 128 + signal.SIGTERM
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert seen
    assert not seen[0].exists()


def test_a_step_that_goes_wrong_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no policy nobody may log in: the demo says so, shows the log, and cleans up."""
    stands: list[Stand] = []
    mint = Stand._mint_tokens

    def spoiled(stand: Stand) -> None:
        stands.append(stand)
        mint(stand)
        stand.agent_token = stand.agent_token[:-8] + "AAAAAAAA"

    monkeypatch.setattr(Stand, "_mint_tokens", spoiled)
    handlers = {number: signal.getsignal(number) for number in (1, 2, 15)}
    try:
        assert run_demo(once=True, screen=Screen()) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    text = capsys.readouterr().out
    assert "The demo stopped:" in text
    assert "PN101" in text
    assert "ready" in text  # of the gateway's log
    assert not stands[0].directory.exists()


def test_without_a_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.demo.stand.find_postgres", list)
    stand = Stand()
    try:
        with pytest.raises(DemoError, match=r"pgpostern\[demo\]"):
            stand.open(lambda part: None)
    finally:
        stand.close()
    assert not stand.directory.exists()
