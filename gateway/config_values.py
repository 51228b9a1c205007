"""How one setting is described, read from text, checked and shown.

A `Kind` turns a TOML value (or the text of an environment variable) into the value that the
dataclass tree holds, and says in one sentence what is wrong when it cannot.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from gateway import units

REQUIRED: Final = object()
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_PORT_MAX: Final = 65_535


def _show(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    return str(value)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may hold. `check` and `from_text` raise ValueError with the reason."""

    name: str
    check: Callable[[object], object]
    from_text: Callable[[str], object] = str
    show: Callable[[object], str] = _show
    must_exist: bool = False  # a path that names an existing file


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the configuration: its kind, default and help text."""

    kind: Kind
    help: str
    default: object
    key: str  # dotted, relative to the section; "" is the field's name


@dataclass(frozen=True, slots=True)
class Section:
    """A table of settings; `keys` describes them where the field's own type does not."""

    keys: type
    build: Callable[[Any], object] | None
    help: str
    named: bool = False  # a table (or array of tables) of these, each with a name


def setting(kind: Kind, text: str, *, default: object = REQUIRED, key: str = "") -> Any:
    """Declare a dataclass field as a setting with help `text`."""
    metadata = {"setting": Setting(kind, text, default, key)}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(metadata=metadata, default_factory=lambda: kind.check(default))


def section(
    keys: type,
    text: str,
    *,
    build: Callable[[Any], object] | None = None,
    default: Callable[[], object] | None = None,
) -> Any:
    """Declare a dataclass field as a table of settings described by `keys`."""
    return field(metadata={"section": Section(keys, build, text)}, default_factory=default or keys)


def named_sections(keys: type, text: str, default: Callable[[], object]) -> Any:
    """Declare a dataclass field as many tables described by `keys`, each with a name."""
    return field(
        metadata={"section": Section(keys, None, text, named=True)}, default_factory=default
    )


def _need(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _string(value: object) -> str:
    if not isinstance(value, str):
        msg = f"expected a string, got {_toml_type(value)}"
        raise ValueError(msg)
    _need("\0" not in value, "a NUL character is not allowed")
    return value


def _toml_type(value: object) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    return names.get(type(value), "a list" if isinstance(value, list) else "a table")


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def string(*, empty: bool = True) -> Kind:
    """Return the kind of any text; `empty` says whether the empty string is a value."""

    def check(value: object) -> str:
        text = _string(value)
        _need(empty or text, "must not be empty")
        return text

    return Kind("string", check)


def optional_string() -> Kind:
    """Return the kind of text that is None when empty or left out."""
    return Kind("string", lambda value: _string(value) or None)


def choice(*allowed: str) -> Kind:
    """Return the kind of exactly one of `allowed`."""

    def check(value: object) -> str:
        text = _string(value)
        _need(text in allowed, f"expected one of {', '.join(allowed)}, got {text!r}")
        return text

    return Kind("one of " + ", ".join(f"`{item}`" for item in allowed), check)


def boolean() -> Kind:
    """Return the kind of true or false."""

    def check(value: object) -> bool:
        if not isinstance(value, bool):
            msg = f"expected true or false, got {_toml_type(value)}"
            raise ValueError(msg)
        return value

    def from_text(text: str) -> object:
        return {"true": True, "false": False}.get(text.lower(), text)

    return Kind("boolean", check, from_text)


def integer(least: int, most: int, *, auto: Callable[[], int] | None = None) -> Kind:
    """Return the kind of whole numbers from `least` to `most`; "auto" asks `auto`."""
    words = f"{least} to {most}"
    if auto is not None:
        words = f'"auto" or {words}'

    def check(value: object) -> int:
        if auto is not None and value == "auto":
            return min(most, max(least, auto()))
        if not isinstance(value, int) or isinstance(value, bool):
            msg = f"expected {words}, got {value!r}"
            raise ValueError(msg)
        _need(least <= value <= most, f"expected {words}, got {value}")
        return value

    def from_text(text: str) -> object:
        return int(text) if re.fullmatch(r"-?[0-9]{1,12}", text, re.ASCII) else text

    return Kind(f"integer, {words}", check, from_text)


def duration(least_s: float, most_s: float) -> Kind:
    """Return the kind of durations with a unit, held as seconds."""
    words = f"{units.format_duration(least_s)} to {units.format_duration(most_s)}"

    def check(value: object) -> float:
        seconds = units.parse_duration(_string(value))
        _need(least_s <= seconds <= most_s, f"expected {words}, got {value}")
        return seconds

    def show(value: object) -> str:
        return units.format_duration(float(str(value)))

    return Kind(f"duration, {words}", check, show=show)


def strings(*, least: int = 0, allowed: tuple[str, ...] = ()) -> Kind:
    """Return the kind of string lists; one string alone counts as a list of one."""

    def check(value: object) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            msg = f"expected a list of strings, got {_toml_type(value)}"
            raise ValueError(msg)
        found = tuple(_string(item) for item in items)
        _need(all(found), "an empty string in the list")
        _need(len(found) >= least, f"expected at least {least} entry")
        for item in found:
            _need(not allowed or item in allowed, f"{item!r} is not one of {', '.join(allowed)}")
        return found

    name = "list of strings"
    if allowed:
        name = "list of " + ", ".join(f"`{item}`" for item in allowed)
    return Kind(name, check, _split)


def path() -> Kind:
    """Return the kind of a path, relative to the configuration file."""

    def check(value: object) -> Path:
        text = _string(value)
        _need(text, "must not be empty")
        return Path(text)

    return Kind("path", check)


def optional_path(*, must_exist: bool = True) -> Kind:
    """Return the kind of a file path that is None when empty."""

    def check(value: object) -> Path | None:
        text = _string(value)
        return Path(text) if text else None

    return Kind("path of a file", check, must_exist=must_exist)


def claims() -> Kind:
    """Return the kind of a table whose values are strings, numbers or booleans."""

    def check(value: object) -> Mapping[str, object]:
        if not isinstance(value, dict):
            msg = f"expected a table, got {_toml_type(value)}"
            raise ValueError(msg)
        for name, wanted in value.items():
            _need(isinstance(wanted, str | int | bool), f"{name}: expected a plain value")
        return MappingProxyType(dict(value))

    def from_text(text: str) -> object:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return Kind("table", check, from_text)


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # a bare IPv6 address: where its port starts is a guess
    if not (colon and host and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII)):
        msg = f"expected host:port, got {text!r}"
        raise ValueError(msg)
    _need(int(port) <= _PORT_MAX, f"port {port} is above {_PORT_MAX}")
    return host, int(port)


def is_loopback(address: str) -> bool:
    """Return whether a listen address reaches this machine only; unknown names do not count."""
    if address.startswith("/"):
        return True
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_public_url(text: str) -> str:
    """Return what is wrong with the address browsers use, "" for nothing; empty is no address."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        port = parts.port or 80
    except ValueError:
        return "not a URL"
    if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username:
        return "scheme, host and port only, such as https://postern.example.com"
    if parts.scheme == "http" and not is_loopback(f"[{parts.hostname}]:{port}"):
        return "http is for loopback; browsers elsewhere need https"
    return ""


def _address(value: object) -> str:
    text = _string(value)
    split_address(text)
    return text


def address() -> Kind:
    """Return the kind of one `host:port`."""
    return Kind("host:port", _address)


def optional_address() -> Kind:
    """Return the kind of one `host:port` that is None when empty."""

    def check(value: object) -> str | None:
        return _address(value) if _string(value) else None

    return Kind("host:port or empty", check)


def addresses() -> Kind:
    """Return the kind of a list of `host:port` or absolute socket paths."""
    base = strings(least=1)

    def check(value: object) -> tuple[str, ...]:
        found: tuple[str, ...] = tuple(str(item) for item in _as_tuple(base.check(value)))
        for item in found:
            if not item.startswith("/"):
                split_address(item)
        return found

    return Kind("list of host:port or socket path", check, _split)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks() -> Kind:
    """Return the kind of a list of IP networks; one address is a network of its own."""
    base = strings()

    def check(value: object) -> tuple[Network, ...]:
        found = [str(item) for item in _as_tuple(base.check(value))]
        try:
            return tuple(ipaddress.ip_network(item) for item in found)
        except ValueError as error:
            msg = f"expected networks such as 10.0.0.0/8: {error}"
            raise ValueError(msg) from None

    return Kind("list of networks", check, _split)


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def url(*schemes: str) -> Kind:
    """Return the kind of an empty string or a URL; a password in it is never shown."""

    def check(value: object) -> str:
        text = _string(value)
        fits = any(text.startswith(f"{scheme}://") for scheme in schemes)
        _need(not text or fits, f"expected a URL starting with {' or '.join(schemes)}://")
        return text

    def show(value: object) -> str:
        return re.sub(r"(?<=://)([^/@:]*):[^@]*(?=@)", r"\1:***", str(value))

    return Kind("URL or empty", check, show=show)


def command() -> Kind:
    """Return the kind of a shell command, shown by its first word only."""

    def show(value: object) -> str:
        words = str(value or "").split()
        return words[0] + (" ..." if len(words) > 1 else "") if words else ""

    return Kind("command line", lambda value: _string(value) or None, show=show)


def check_name(name: str) -> None:
    """Raise ValueError unless `name` can name a target or an issuer."""
    _need(
        _NAME.fullmatch(name),
        f"{name!r} is not a name: letters, digits, '-' and '_', at most 63",
    )
