"""The text scanner: what it finds, what it leaves, and that no input takes it long."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath.scan import FINDINGS, TextScan, find_all
from tests.support.scan_corpus import MAKERS, corpus

PRECISION_LEAST, RECALL_LEAST = 0.98, 0.98


def shown(text: str) -> str:
    masked = TextScan().mask_bytes(text.encode())
    assert masked is not None
    return masked.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail a.b+x@example.com, now", "mail [mail], now"),
        ("4111 1111 1111 1111 exp 12/27", "[card] exp 12/27"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("123-45-6789.", "[ssn]."),
        ("000-45-6789, 666-45-6789, 923-45-6789", "000-45-6789, 666-45-6789, 923-45-6789"),
        ("SSN: 123456789", "SSN: [ssn]"),
        ("order 123456789", "order 123456789"),
        ("(212) 555-0123", "[phone]"),
        ("tel 030 1234567", "tel [phone]"),
        ("DE89 3704 0044 0532 0130 00 bitte", "[iban] bitte"),
        ("DE88370400440532013000", "DE88370400440532013000"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("10.0.0.1:5432 and fe80::1%eth0", "[ip]:5432 and [ip]%eth0"),
        ("version 1.2.3.4, 256.1.1.1, 1.2.3.4.5", "version 1.2.3.4, 256.1.1.1, 1.2.3.4.5"),
        (
            "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- x",
            "[key] x",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\ncut off", "[key]"),
        ("ab4111111111111111", "ab4111111111111111"),
        ("", ""),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert shown(text) == expected


def measure() -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count found, missed and wrong findings by kind over the labelled texts."""
    hits: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for text, secrets in corpus():
        data = text.encode()
        found = [(kind, data[start:end].decode()) for kind, start, end in find_all(data)]
        for secret in secrets:
            if secret in found:
                found.remove(secret)
                hits[secret[0]] += 1
            else:
                missed[secret[0]] += 1
        wrong.update(kind for kind, _ in found)
    return hits, missed, wrong


def test_precision_and_recall() -> None:
    """Goal: the numbers the documentation quotes hold. A cut finding counts as missed and wrong."""
    hits, missed, wrong = measure()
    for kind in FINDINGS:
        recall = hits[kind] / (hits[kind] + missed[kind])
        precision = hits[kind] / (hits[kind] + wrong[kind])
        print(f"{kind:6} {hits[kind]:5} precision {precision:.3f} recall {recall:.3f}")
        assert recall >= RECALL_LEAST, kind
        assert precision >= PRECISION_LEAST, kind


def test_no_secret_survives() -> None:
    """Goal: what is labelled is not shown, not even half of it."""
    survivors = [
        (kind, value)
        for text, secrets in corpus(2_000)
        for kind, value in secrets
        if value in shown(text)
    ]
    assert len(survivors) <= 2_000 * (1 - RECALL_LEAST)


@given(st.text(max_size=300) | st.sampled_from([text for text, _ in corpus(300)]))
def test_output_is_text_never_longer_and_clean(text: str) -> None:
    once = shown(text)
    assert len(once.encode()) <= len(text.encode())
    assert shown(once) == once


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Goal: bytes of another encoding are scanned as they are, and spans never overlap."""
    end = 0
    for kind, start, stop in find_all(data):
        assert kind in FINDINGS
        assert end <= start < stop <= len(data)
        end = stop


@pytest.mark.parametrize(
    "unit",
    [b"eyJ-", b"eyJa.", b"@a.b", b"a@", b"1-", b"1 ", b"(1", b"+1", b"a:", b"::", b"-----BEGIN ",
     b"AKIA", b"sk-", b"DE89 ", b"1.1.", b"4111 ", b"a.a@a-", b"ssn 1", b"'=", b"eyJaaaaaaa.aa.",
     b"-----BEGIN PRIVATE KEY"],
)  # fmt: skip
def test_time_grows_with_the_text_only(unit: bytes) -> None:
    """Goal: no text of a hostile writer stalls a worker. A square would take minutes here."""
    text = unit * (1_000_000 // len(unit))
    begin = time.process_time()
    find_all(text)
    assert time.process_time() - begin < 4


@pytest.mark.parametrize("kind", MAKERS)
def test_char_columns_keep_their_width(kind: str) -> None:
    value = next(v for _, secrets in corpus(300) for k, v in secrets if k == kind)
    padded = value.encode().ljust(80)
    masked = TextScan(pad_chars=80).mask_bytes(padded)
    assert masked is not None
    assert len(masked.decode()) >= len(padded.decode())
