"""The file of mask keys: what is read back, what is refused, what a rotation changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.session.maskkey import KEY_FILE, MaskKeys, load_mask_keys, save_mask_keys


def test_workers_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(load_mask_keys, [tmp_path] * 16))
    assert len({one.root for one in keys}) == 1
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_domain_is_rotated_alone(tmp_path: Path) -> None:
    before = load_mask_keys(tmp_path)
    save_mask_keys(tmp_path, before.rotated("cards"))
    after = load_mask_keys(tmp_path)
    assert after.key_of("cards") != before.key_of("cards")
    assert after.key_of("mail") == before.key_of("mail")
    assert after.key_of("mail") != after.key_of("cards")
    assert after.rotated("cards").key_of("cards") != after.key_of("cards")


def test_the_root_is_rotated_for_all(tmp_path: Path) -> None:
    before = load_mask_keys(tmp_path).rotated("cards")
    after = before.rotated(None)
    for domain in ("cards", "mail", ""):
        assert after.key_of(domain) != before.key_of(domain)
        assert after.id_of(domain) != before.id_of(domain)


@pytest.mark.parametrize("content", [b"", b"short", bytes(31), bytes(33), b"{}", b'{"root": 1}'])
@pytest.mark.parametrize("tail", [b"", b" "])
def test_another_content_is_refused(tmp_path: Path, content: bytes, tail: bytes) -> None:
    if len(content + tail) != 32:
        (tmp_path / KEY_FILE).write_bytes(content + tail)
        with pytest.raises(ConfigError, match=KEY_FILE):
            load_mask_keys(tmp_path)


def test_a_short_key_of_a_domain_is_refused() -> None:
    content = b'{"root": "%s", "domains": {"a": "00"}}' % (b"00" * 32)
    with pytest.raises(ValueError, match="32 bytes"):
        MaskKeys.from_bytes(content)


@pytest.mark.parametrize("domain", ["", "x" * 201])
def test_a_domain_has_a_bounded_name(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        MaskKeys(bytes(32)).rotated(domain)
