from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from gateway import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("postern")
    before = (root.handlers[:], root.level, ours.level)
    out = io.StringIO()
    logs.configure("worker-0", stream=out)
    yield out
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


def test_a_line_names_time_process_level_and_area(stream: io.StringIO) -> None:
    logs.get_logger("pool").info("dialled %s", "orders")
    line = stream.getvalue()
    assert line.endswith("Z worker-0 INFO pool: dialled orders\n")
    assert len(line.split()[0]) == len("2023-11-14T22:13:20.000042Z")


def test_a_client_cannot_forge_a_line(stream: io.StringIO) -> None:
    logs.get_logger("session").info("user %s", "x\n2023 worker-0 INFO audit: all fine\x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl refused", "eyJzdWIiOiJhIn0"),
        ("alg none eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "eyJzdWIiOiJhIn0"),
        ("dial postgresql://postern:s3cret@db:5432/x", "s3cret"),
        ("conninfo password='s3cret word' host=db", "s3cret"),
        ("PASSWORD: s3cret", "s3cret"),
    ],
)
def test_secrets_are_removed(stream: io.StringIO, text: str, secret: str) -> None:
    logs.get_logger("dial").warning(text)
    assert secret not in stream.getvalue()
    assert "WARNING dial: " in stream.getvalue()


def test_a_traceback_stays_in_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("password=s3cret")
    except ValueError:
        logs.get_logger("worker").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError" in stream.getvalue()
    assert "s3cret" not in stream.getvalue()


def test_libraries_speak_only_of_trouble(stream: io.StringIO) -> None:
    logging.getLogger("httpx").info("GET https://idp.example.com")
    logs.get_logger("x").debug("select 1")
    assert stream.getvalue() == ""
