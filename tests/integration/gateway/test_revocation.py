"""Whoever is revoked is out: idle, running, and at the next login, on every worker."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import psycopg
import pytest

from gateway.ipc.epochs import REVOCATION, Epochs
from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory

OPEN: list[psycopg.Connection] = []


@pytest.fixture(scope="module")
def own(stands: Stands) -> Iterator[Stand]:
    """A gateway of our own: what is revoked in the shared one stays so for others."""
    cluster = stands.cluster(EMBEDDED)
    with own_directory() as directory, GatewayProcess(cluster, Path(directory)) as gateway:
        yield Stand(cluster, gateway)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def connect(gateway: GatewayProcess, *groups: list[str], **options: str) -> psycopg.Connection:
    """A session that is closed after the test."""
    OPEN.append(gateway.connect(*groups, **options))
    return OPEN[-1]


def works(gateway: GatewayProcess, subject: str) -> bool:
    return connect(gateway, subject=subject).execute("select 1").fetchone() == (1,)


def admin(gateway: GatewayProcess, *arguments: str, check: bool = True) -> str:
    """Run a command as an administrator."""
    environ = {
        "POSTERN_URL": f"http://127.0.0.1:{gateway.control_port}",
        "POSTERN_TOKEN": gateway.mint("admin", ["dba"]),
    }
    return gateway.cli(*arguments, check=check, **environ)


def revoke(gateway: GatewayProcess, *arguments: str) -> str:
    return admin(gateway, "token", "revoke", "--issuer", "test", *arguments)


def ended_within(connection: psycopg.Connection, seconds: float) -> str:
    """Wait, without sending anything, for the gateway to end an idle session; its words."""
    said: list[str] = []
    pgconn = connection.pgconn

    def closed() -> bool:
        try:
            pgconn.consume_input()
        except psycopg.OperationalError as error:
            said.append(str(error))
            return True
        return pgconn.status == psycopg.pq.ConnStatus.BAD

    wait_until(closed, seconds, "the idle session is ended")
    return " ".join(said)


def test_an_idle_session_ends_and_the_subject_stays_out(own: Stand) -> None:
    """Goal: offboarding. Method: idle sessions on both workers hear of it within 2 s."""
    gateway = own.gateway
    idle = [connect(gateway, subject="contractor") for _ in range(6)]
    other = connect(gateway, subject="colleague")
    for connection in idle:
        connection.execute("select 1")
    revoke(gateway, "--subject", "contractor", "--reason", "left")
    started = time.monotonic()
    for connection in idle:
        ended_within(connection, 2)
    assert time.monotonic() - started < 2
    assert other.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="PN202") as refused:
        connect(gateway, subject="contractor")
    assert "left" not in str(refused.value), "the reason is not the client's business"
    assert "left" in admin(gateway, "token", "revocations")
    closed = wait_until(
        lambda: [r for r in gateway.audit("--kind", "session.closed") if r.get("reason") == "revoked"],
        5, "the audit says why",
    )  # fmt: skip
    assert "https://issuer.test|contractor" in {record["principal"] for record in closed}
    revoke(gateway, "--subject", "contractor", "--lift")
    assert works(gateway, "contractor")


def test_the_next_statement_is_refused_at_once(own: Stand) -> None:
    """Goal: no statement begins after the call answered, whatever the watch of a worker does."""
    gateway = own.gateway
    connection = connect(gateway, subject="hasty")
    connection.execute("select 1")
    revoke(gateway, "--subject", "hasty")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 'after the revocation'")
    assert not own.server_saw("after the revocation")


def test_a_running_statement_is_cancelled_at_the_server(own: Stand) -> None:
    """Goal: nothing runs on, and its server connection serves nobody else."""
    gateway = own.gateway
    connection = connect(gateway, ["trusted"], subject="long")
    failure: list[str] = []

    def run() -> None:
        try:
            connection.execute("select count(*) from generate_series(1, 2000000000) as running")
        except psycopg.Error as error:
            failure.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    with own.server() as server:

        def running() -> list[int]:
            found = server.execute(
                "select pid from pg_stat_activity where state = 'active' "
                "and query like '%as running' and pid <> pg_backend_pid()"
            ).fetchall()
            return [row[0] for row in found]

        (pid,) = wait_until(running, 5, "the statement runs")
        revoke(gateway, "--subject", "long")
        started = time.monotonic()
        wait_until(lambda: not running(), 3, "the statement is cancelled")
        thread.join(3)
        assert time.monotonic() - started < 2
        assert "PN202" in failure[0]
        gone = "select 1 from pg_stat_activity where pid = %s"
        wait_until(lambda: not server.execute(gone, [pid]).fetchone(), 3, "its backend is gone")


@pytest.mark.parametrize("what", ["group", "token", "run", "key", "all"])
def test_what_can_be_revoked(own: Stand, what: str) -> None:
    """Goal: each kind hits those it is about, and only those."""
    gateway = own.gateway
    issuer = gateway.issuer()
    inside = issuer.mint(f"in-{what}", ["agents", f"g-{what}"], 600, {"run_id": f"run-{what}"})
    outside = issuer.mint(f"out-{what}", ["agents"], 600, {"run_id": "another"})
    with gateway.connect(password=inside) as hit, gateway.connect(password=outside) as spared:
        (opened,) = wait_until(
            lambda: gateway.audit("--kind", "session.opened", "--subject", f"*in-{what}"), 5
        )
        arguments = {
            "group": ["--group", f"g-{what}"],
            "token": ["--token-id", opened["token_id"]],
            "run": ["--run", f"run-{what}"],
            "key": ["--key", _kid(inside)],
            "all": ["--all"],
        }[what]
        # --keep-new: the administrator's own next token must be good for the rest of the test.
        hits_all = what in {"key", "all"}
        revoke(gateway, *arguments, *["--keep-new"] * hits_all)
        ended_within(hit, 2)
        if hits_all:
            ended_within(spared, 2)
        else:
            assert spared.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="PN202"):
        connect(gateway, password=inside)
    if hits_all:
        gateway._tokens.clear()
        wait_until(lambda: _lifted(gateway, arguments), 5, "a token of a later second is good")


def _kid(token: str) -> str:
    import jwt

    return str(jwt.get_unverified_header(token)["kid"])


def _lifted(gateway: GatewayProcess, arguments: list[str]) -> bool:
    gateway._tokens.clear()
    try:
        revoke(gateway, *arguments, "--lift")
    except AssertionError:
        return False
    return True


def test_a_killed_session_ends_and_its_token_stays_good(own: Stand) -> None:
    gateway = own.gateway
    connection = connect(gateway, subject="stuck")
    connection.execute("select 1")

    def listed() -> list[str]:
        items = orjson.loads(admin(gateway, "sessions", "list", "--json"))["items"]
        return [item["id"] for item in items if item["principal"]["subject"] == "stuck"]

    (session,) = wait_until(listed, 5, "the session is listed")
    admin(gateway, "sessions", "kill", session)
    ended_within(connection, 2)
    assert works(gateway, "stuck")
    assert "no such session" in admin(gateway, "sessions", "kill", "unheard-of", check=False)


def test_only_administrators_revoke(own: Stand) -> None:
    gateway = own.gateway
    url = f"http://127.0.0.1:{gateway.control_port}/v1/revocations"
    body = {"kind": "subject", "issuer": "test", "value": "victim"}
    for groups, status in ((["agents"], 403), ([], 403), (None, 401)):
        headers = {}
        if groups is not None:
            headers["authorization"] = f"Bearer {gateway.mint('mallory', groups)}"
        assert httpx.post(url, json=body, headers=headers).status_code == status
    token = {"authorization": f"Bearer {gateway.mint('admin', ['dba'])}"}
    bad = [
        {"kind": "subject", "issuer": "nobody", "value": "x"},
        {"kind": "session", "issuer": "test", "value": "x"},
        {"kind": "subject", "issuer": "test", "value": ""},
        {"kind": "issuer", "issuer": "test", "value": "x"},
        {"kind": "subject", "issuer": "test", "value": "x", "for_s": -1},
        {"kind": "subject", "issuer": "test", "value": "x", "extra": 1},
    ]
    for wrong in bad:
        assert httpx.post(url, json=wrong, headers=token).status_code == 422, wrong
    assert works(gateway, "victim")


def test_the_api_itself_listens(own: Stand) -> None:
    """Goal: a revoked administrator administers nothing, by token or by browser session."""
    gateway = own.gateway
    base = f"http://127.0.0.1:{gateway.control_port}"
    token = gateway.mint("second-admin", ["dba"])
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base) as browser:
        assert browser.post("/login", data={"token": token, "next": ""}).status_code == 303
        assert browser.get("/v1/whoami").status_code == 200
        path = "/v1/identities/test/second-admin/block"
        own_token = {"authorization": f"Bearer {gateway.mint('admin', ['dba'])}"}
        assert httpx.post(base + path, headers=own_token).status_code == 200
        assert browser.get("/v1/whoami").status_code == 401
        assert httpx.get(base + "/v1/whoami", headers=headers).status_code == 401
        assert httpx.delete(base + path, headers=own_token).status_code == 200
        assert httpx.get(base + "/v1/whoami", headers=headers).status_code == 200


def test_a_list_that_cannot_be_read_lets_nobody_in(own: Stand) -> None:
    """Goal: fail closed. Method: damage the list, tell the workers, put it back."""
    gateway = own.gateway
    revoke(gateway, "--subject", "somebody else")
    path = gateway.data_dir / "identity" / "revoked.json"
    before = path.read_bytes()
    epochs = Epochs.open(gateway.data_dir / "run" / "epochs")
    connection = connect(gateway, subject="patient")
    path.write_bytes(b'{"revoked": [{}]}')
    epochs.bump(REVOCATION)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="PN107"):
        connect(gateway, subject="patient")
    path.unlink()
    epochs.bump(REVOCATION)
    with pytest.raises(psycopg.OperationalError, match="PN107"):
        connect(gateway, subject="patient")
    path.write_bytes(before)
    assert works(gateway, "patient")


def test_idle_and_old_sessions_end(stands: Stands) -> None:
    """Goal: the limits of [sessions]. A statement starts the idle time anew."""
    with own_directory() as directory:
        gateway = GatewayProcess(
            stands.cluster(EMBEDDED), Path(directory), workers=1,
            sections='[sessions]\nidle = "2s"\nage = "5s"',
        )  # fmt: skip
        with gateway:
            idle, active = connect(gateway), connect(gateway)
            started = time.monotonic()
            wait_until(lambda: _keep(active, 1.5, started), 5, "a session in use goes on")
            ended_within(idle, 3)
            assert time.monotonic() - started >= 1.5
            with pytest.raises(psycopg.OperationalError):
                wait_until(lambda: _keep(active, 9, started), 10)
            assert time.monotonic() - started >= 4
            reasons = wait_until(
                lambda: _reasons(gateway) >= {"idle", "session_age"} and _reasons(gateway), 5
            )
            assert reasons


def _keep(connection: psycopg.Connection, until_s: float, started: float) -> bool:
    connection.execute("select 1")
    return time.monotonic() - started > until_s


def _reasons(gateway: GatewayProcess) -> set[str]:
    return {record.get("reason", "") for record in gateway.audit("--kind", "session.closed")}


def test_without_a_supervisor_no_statement_begins(stands: Stands) -> None:
    """Goal: nobody restarts what dies, so nothing new begins. Method: freeze the supervisor."""
    cluster = stands.cluster(EMBEDDED)
    with own_directory() as directory:
        gateway = GatewayProcess(cluster, Path(directory), workers=1)
        with gateway:
            assert gateway.process is not None
            connection = connect(gateway)
            connection.execute("select 1")
            gateway.process.send_signal(signal.SIGSTOP)
            try:
                epochs = Epochs.open(gateway.data_dir / "run" / "epochs")
                epochs.buffer[4] -= 60 * 10**9  # its last heartbeat, a minute ago
                wait_until(lambda: _is_refused(gateway), 5, "logins are refused")
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("select 'unsupervised'")
            finally:
                gateway.process.send_signal(signal.SIGCONT)
            wait_until(lambda: not _is_refused(gateway), 5, "it goes on as the supervisor does")


def _is_refused(gateway: GatewayProcess) -> bool:
    try:
        gateway.connect().close()
    except psycopg.OperationalError as error:
        return "PN107" in str(error)
    return False
