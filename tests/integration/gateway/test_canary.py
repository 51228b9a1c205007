"""Nothing secret lies in the data directory after a run: no masked value, token or credential.

Clear values reach every path that shows them to a client; then every file is read to the end.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from gateway.audit.segments import list_segments, read_segment, segment_directory
from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess
from tests.support.sample import LOGIN_PASSWORD
from tests.support.stands import EMBEDDED, Stands, own_directory

# The sample's masked columns hold these.
MASKED = ("@mail.example", "123-45-", "4111 1111", "4111-1111", "41111111", "555 010")
WRONG = "wrong-password-canary-77b1"


@pytest.fixture
def fresh(stands: Stands) -> Iterator[GatewayProcess]:
    cluster: Cluster = stands.cluster(EMBEDDED)
    with (
        own_directory() as directory,
        GatewayProcess(cluster, Path(directory), workers=1) as gateway,
    ):
        yield gateway


def use(gateway: GatewayProcess) -> list[str]:
    """Show masked columns on every path, be refused, fail to log in; the secrets that were used."""
    secrets = [LOGIN_PASSWORD, WRONG]
    for password in (WRONG, gateway.mint("agent-1", ["agents"])[:-6] + "abcdef"):
        secrets.append(password)
        with suppress(psycopg.OperationalError):
            gateway.connect(password=password).close()
    token = gateway.mint("agent-1", ["agents"])
    secrets += [token, token.rpartition(".")[2]]
    with gateway.connect() as connection:
        for binary in (False, True):
            rows = connection.execute(
                "select id, email, phone, ssn, card, notes from sales.customers", binary=binary
            ).fetchall()
            assert len(rows) > 5
            assert not any(mark in str(rows) for mark in MASKED[1:3])
        with (
            connection.cursor() as cursor,
            cursor.copy("copy (select id, email, ssn from sales.customers) to stdout") as copy,
        ):
            assert sum(1 for _ in copy) > 5
        for refused in (
            "select upper(email) from sales.customers",
            "select count(*) from sales.customers where email like 'a%'",
            "select email::int from sales.customers",
        ):
            with suppress(psycopg.Error):
                connection.execute(refused)
    return secrets


def test_no_secret_is_in_any_file_of_the_data_directory(fresh: GatewayProcess) -> None:
    secrets = use(fresh)
    assert fresh.stop() == 0
    needles = [text.encode() for text in (*secrets, *MASKED)]
    needles += [base64.b64encode(needle)[:-4] for needle in needles[:-4] if len(needle) > 20]
    seen = 0
    segments = list_segments(segment_directory(fresh.data_dir))
    contents = {path: read_segment(path) for path in segments}
    for path in fresh.data_dir.rglob("*"):
        if path.is_file():
            contents.setdefault(path, path.read_bytes())
    for path, content in contents.items():
        seen += len(content)
        found = [needle for needle in needles if needle in content]
        assert not found, (path, found)
    assert seen > 100_000
    assert any(b"sales.customers" in content for content in contents.values())  # it was recorded


def test_the_scan_would_find_them(fresh: GatewayProcess) -> None:
    """Goal: the scan can fail. Method: a statement that holds such a value is found."""
    with fresh.connect() as connection:
        connection.execute("select '123-45-0000'")
    assert fresh.stop() == 0
    paths = list_segments(segment_directory(fresh.data_dir))
    assert any(MASKED[1].encode() in read_segment(path) for path in paths)
