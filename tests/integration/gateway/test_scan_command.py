"""`postern scan` against a real database: columns and masks come out, values never do."""

from __future__ import annotations

from pathlib import Path

import orjson

from gateway.policy.load import load_bundle
from tests.support.stands import Stand

SECRETS = ("secret", "mail.example", "4111", "4242", "+1 555", "123-45")


def test_scan_suggests_and_prints_no_value(stand: Stand, tmp_path: Path) -> None:
    gateway = stand.gateway
    patch = tmp_path / "found.yaml"
    with stand.server() as server:
        server.execute(
            "create table sales.leads (id int, mail text, memo text, numbers jsonb, plain text);"
            "insert into sales.leads select i, 'lead' || i || '@mail.example',"
            " case when i % 5 = 0 then 'pay with 4242 4242 4242 4242 please' else 'nothing' end,"
            " jsonb_build_object('tel', '+1 555 010 0' || (100 + i)), 'word ' || i"
            " from generate_series(1, 200) i; grant select on sales.leads to pn_read"
        )
    try:
        arguments = ("scan", "-c", str(gateway.config), "--target", "orders", "--schema", "sales")
        table = gateway.cli(*arguments, "--patch", str(patch), check=False)
        found = orjson.loads(gateway.cli(*arguments, "--json", check=False))
    finally:
        with stand.server() as server:
            server.execute("drop table sales.leads")
    columns = {line["column"]: line for line in found["found"]}
    assert columns["sales.leads.mail"]["mask"] == "{kind: email}"
    assert columns["sales.leads.memo"]["mask"] == "{kind: scan}"
    assert columns["sales.leads.numbers"]["mask"] == "{kind: scan}"
    assert columns["sales.customers.email"]["masked"]
    assert "sales.leads.plain" not in columns
    text = patch.read_text()
    for secret in SECRETS:
        assert secret not in table + text + str(found)
    (tmp_path / "policies").mkdir()
    patch.rename(tmp_path / "policies" / "found.yaml")
    bundle = load_bundle(tmp_path / "policies", targets=None, issuers=None)
    masked = {c for mask in bundle.policy.masks for c in bundle.policy.mask_columns(mask)}
    assert {"sales.leads.mail", "sales.leads.memo", "sales.leads.numbers"} <= masked
    assert "sales.customers.email" not in masked


def test_unknown_target_is_one_line(stand: Stand) -> None:
    said = stand.gateway.cli(
        "scan", "-c", str(stand.gateway.config), "--target", "nope", check=False
    )
    assert "targets.nope" in said
    assert len(said.strip().splitlines()) == 1
