"""Who knocks at the gate without a right to, and what a connector refuses its gateway."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from gateway.connector.keys import Keys
from gateway.identity.authority import GATEWAY_NAME, Authority, make_request
from gateway.ipc.connector_wire import build_greeting
from tests.support.connector import ConnectorProcess, ConnectorStand
from tests.support.gateway import wait_until


def until_refused(stand: ConnectorStand, words: str) -> None:
    """Wait for the record of a refusal that says `words`."""
    wait_until(lambda: any(words in one for one in stand.refusals()), 15, f"a record of {words!r}")


def until_logged(process: ConnectorProcess, words: str) -> None:
    wait_until(lambda: words in process.log, 20, f"the connector logs {words!r}")


def test_a_join_token_is_good_once(
    stand: ConnectorStand, connector: ConnectorProcess, tmp_path: Path
) -> None:
    """Goal: of two who hold a token one joins, and the trail names the member to revoke."""
    with stand.connector("thief", token=connector.token) as thief:
        until_logged(thief, "the join token was not accepted")
    until_refused(stand, "was used before")
    (member,) = [one["id"] for one in stand.members() if one["state"] == "ready"]
    refused = [one for one in stand.records("security.connector") if "used before" in str(one)]
    assert [one["member"] for one in refused] == [member]


def test_a_join_token_is_shown_to_its_gateway_only(stand: ConnectorStand, tmp_path: Path) -> None:
    """Goal: whoever answers in the gateway's place does not get the token.

    Method: a false gateway, with an authority of its own, that takes down what it is sent.
    """
    false = Authority(tmp_path / "false")
    false.prepare()
    context = false.server_context(require=False)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with suppress(OSError), peer:
                peer.recv(8, socket.MSG_WAITALL)
                with context.wrap_socket(peer, server_side=True) as secured:
                    while data := secured.recv(65_536):
                        heard.append(data)

        thread = threading.Thread(target=answer)
        thread.start()
        stand.directory = tmp_path
        process = stand.connector("cheated")
        process.gate = f"127.0.0.1:{server.getsockname()[1]}"
        with process:
            until_logged(process, "not the gateway that the join token is of")
        thread.join()
    assert b"".join(heard) == b""


def test_a_foreign_key_is_refused(stand: ConnectorStand, tmp_path: Path) -> None:
    """Goal: a certificate of another authority opens nothing."""
    stand.directory = tmp_path
    with stand.connector("forger") as process:
        stand.wait_ready()
    other = Authority(tmp_path / "other")
    other.prepare()
    key, request = make_request("x")
    (member,) = [one["id"] for one in stand.members() if one["state"] == "away"]
    (directory,) = [path for path in process.state_dir.iterdir() if path.is_dir()]
    forged = other.issue(request, member, 3600)
    Keys(directory).save(key, forged.certificate.decode())
    process.token = ""
    with process:
        until_refused(stand, "certificate is not accepted")
    stand.revoke_all()


def test_a_stolen_gateway_side_certificate_is_no_gateway(tmp_path: Path) -> None:
    """Goal: a connector's certificate cannot pose as the gateway to other connectors."""
    authority = Authority(tmp_path)
    authority.prepare()
    key, request = make_request(GATEWAY_NAME)
    issued = authority.issue(request, GATEWAY_NAME, 3600)
    posing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "posing.pem").write_bytes(key + issued.certificate)
    posing.load_cert_chain(tmp_path / "posing.pem")
    Keys(tmp_path / "c").save(
        key, issued.certificate.decode(), authority.certificate_file.read_text()
    )
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = Keys(tmp_path / "c").context().wrap_bio(theirs, ours, server_hostname=GATEWAY_NAME)
    server = posing.wrap_bio(ours, theirs, server_side=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)


def shake_hands(*sides: ssl.SSLObject) -> None:
    for _ in range(4):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()


def test_a_revoked_connector_is_out_with_its_streams(
    stand: ConnectorStand, connector: ConnectorProcess
) -> None:
    """Goal: within moments no statement runs through it, and it does not come back."""
    with stand.gateway.connect() as connection:
        connection.execute("begin")
        stand.api("revoke", "eu")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select count(*) from generate_series(1, 1000000000)")
    until_refused(stand, "the key was revoked")
    until_logged(connector, "was not let in")
    assert stand.records("connector.revoked")


def test_a_replayed_handshake_gets_nowhere(
    stand: ConnectorStand, connector: ConnectorProcess, tmp_path: Path
) -> None:
    """Goal: bytes of a good connection, sent again, prove nothing.

    Method: relay a connector's control connection, keep what it sent, and send it again.
    """
    host, port = stand.gate.split(":")
    sent = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def relay() -> None:
            peer, _ = server.accept()
            with peer, socket.create_connection((host, int(port))) as gate:
                back = threading.Thread(target=copy, args=(gate, peer, bytearray()))
                back.start()
                copy(peer, gate, sent)
                back.join()

        thread = threading.Thread(target=relay)
        thread.start()
        (directory,) = [path for path in connector.state_dir.iterdir() if path.is_dir()]
        context = Keys(directory).context()
        with socket.create_connection(server.getsockname()) as raw:
            raw.sendall(build_greeting(None))
            with context.wrap_socket(raw, server_hostname=GATEWAY_NAME) as secured:
                frame = b'{"op":"register","protocol":1,"targets":{}}'
                secured.sendall(len(frame).to_bytes(4, "big") + frame)
                secured.recv(100)
        thread.join()
    before = len(stand.refusals())
    assert len(sent) > 500
    with socket.create_connection((host, int(port))) as again:
        again.sendall(sent)
        with suppress(OSError):
            while again.recv(4096):
                pass
    wait_until(lambda: len(stand.refusals()) > before, 15, "the replay is recorded")
    assert "TLS failed" in stand.refusals()[-1] or "TLS failed" in stand.refusals()[0]


def copy(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            kept += data
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_a_target_of_somebody_else_cannot_be_claimed(stand: ConnectorStand, tmp_path: Path) -> None:
    """Goal: a connector serves what the gateway's operator gave it, not what it says."""
    stand.directory = tmp_path
    with stand.connector("claims", target="payroll"):
        until_refused(stand, "claims target")
    stand.revoke_all()


def test_strangers_get_no_word(stand: ConnectorStand) -> None:
    """Goal: neither garbage, nor silence, nor data without a ticket opens anything."""
    host, port = stand.gate.split(":")
    for first in (b"GET / HTTP/1.1\r\n\r\n", build_greeting(9999), build_greeting(0), b"PNC1"):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(first)
            stranger.settimeout(20)
            with suppress(OSError):  # closed by the gateway already
                stranger.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert stranger.recv(100) == b""
    until_refused(stand, "greeting")


def test_the_connector_has_the_last_word(stand: ConnectorStand, tmp_path: Path) -> None:
    """Goal: roles outside its list are refused whatever the gateway asks.

    Method: one that serves the read role only, and whose login role may become others.
    """
    stand.directory = tmp_path
    with stand.connector("strict", roles='["pn_read"]') as process:
        until_logged(process, "login role may become pn_admin, pn_write, not in its list")
        wait_until(lambda: any(one["state"] == "unsound" for one in stand.members()), 10)
        with pytest.raises(psycopg.OperationalError, match="PN107"):
            use(stand)
    stand.revoke_all()


def use(stand: ConnectorStand) -> None:
    with stand.gateway.connect() as connection:
        connection.execute("select 1")


def test_a_superuser_login_is_not_served(stand: ConnectorStand, tmp_path: Path) -> None:
    stand.directory = tmp_path
    with stand.connector("super", user="postgres", server=socket_of(stand)) as process:
        until_logged(process, "is a superuser")
    stand.revoke_all()


def socket_of(stand: ConnectorStand) -> str:
    return f'host = "{stand.cluster.sockets}"\nport = {stand.cluster.port}'


def test_a_gateway_that_is_not_listed_gets_nothing(stand: ConnectorStand, tmp_path: Path) -> None:
    stand.directory = tmp_path
    top = f'allow_gateways = ["{"0" * 64}"]'
    with stand.connector("elsewhere", top=top) as process:
        until_logged(process, "is not in allow_gateways")
        assert process.trail[-1]["reason"] == "gateway not allowed"
    stand.revoke_all()
