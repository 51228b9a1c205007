"""`postern mask`: rotation takes effect in all workers at once, and gateways can share keys."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.support.gateway import GatewayProcess
from tests.support.stands import EMBEDDED, Stands, own_directory

SQL = b"select card from sales.customers where id = 7"


def hashes(gateway: GatewayProcess) -> set[str]:
    """What new sessions see, of whichever worker they land on, in both formats."""
    shown = set()
    for binary in (False, True) * 3:
        with gateway.connect() as connection:
            row = connection.execute(SQL, binary=binary).fetchone()
            assert row is not None
            shown.add(row[0])
    return shown


def key_ids(gateway: GatewayProcess) -> dict[str, object]:
    out = gateway.cli("mask", "keys", "-c", str(gateway.config), "--json", "--domain", "card")
    found: dict[str, object] = orjson.loads(out)
    return found


def rotate(gateway: GatewayProcess, *options: str) -> str:
    return gateway.cli("mask", "rotate-key", "-c", str(gateway.config), "--yes", *options)


def test_rotation(stands: Stands) -> None:
    cluster = stands.cluster(EMBEDDED)
    with (
        own_directory() as one_dir,
        own_directory() as two_dir,
        GatewayProcess(cluster, Path(one_dir)) as one,
        GatewayProcess(cluster, Path(two_dir)) as two,
    ):
        (first,) = hashes(one)
        with one.connect() as connection:
            assert connection.execute(SQL, prepare=True).fetchone() == (first,)
            ids = key_ids(one)
            rotate(one, "--domain", "elsewhere")
            assert connection.execute(SQL, prepare=True).fetchone() == (first,)
            shown = rotate(one, "--domain", "card")
            (second,) = hashes(one)
            assert second != first
            # A session that was open, with its statement prepared, is no different.
            assert connection.execute(SQL, prepare=True).fetchone() == (second,)
        assert key_ids(one)["domains"] != ids["domains"]
        assert key_ids(one)["root"] == ids["root"]
        assert str(key_ids(one)["domains"]["card"]) in shown  # type: ignore[index]

        # Two gateways show the same once they hold the same file.
        assert hashes(two) != {second}
        rotate(two, "--from", str(one.data_dir / "mask.key"))
        assert key_ids(two) == key_ids(one)
        assert hashes(two) == {second}

        (record,) = two.audit("kind:admin.action")
        assert record["action"] == "mask keys taken over"
        assert {r["object"] for r in one.audit("kind:admin.action")} == {"card", "elsewhere"}
        key = (one.data_dir / "mask.key").read_bytes()
        assert orjson.loads(key)["root"] not in one.log + str(one.audit("kind:admin.action"))


def test_a_gateway_at_rest(stands: Stands) -> None:
    """Without a running gateway the file is changed for its next start."""
    with own_directory() as directory:
        gateway = GatewayProcess(stands.cluster(EMBEDDED), Path(directory))
        gateway.write_config()
        gateway.data_dir.mkdir()
        before = key_ids(gateway)
        assert "next start" in rotate(gateway)
        assert key_ids(gateway)["root"] != before["root"]
        broken = gateway.directory / "broken"
        broken.write_bytes(b"no key")
        refused = gateway.cli(
            "mask", "rotate-key", "-c", str(gateway.config), "--yes", "--from", str(broken),
            check=False,
        )  # fmt: skip
        assert "broken" in refused
        assert key_ids(gateway)["root"] != before["root"]
