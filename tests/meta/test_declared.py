"""What is declared is used: a setting nobody reads, or a limit nobody enforces, is a false promise.

The NOT_YET sets are ratchets: they may only shrink.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from gateway import limits, metrics
from gateway.config import (
    Audit,
    Connectors,
    Control,
    Issuer,
    Listen,
    Pool,
    Sessions,
    Store,
    Target,
    Workers,
)

ROOT = Path(__file__).parents[2]
METRICS_NOT_YET: set[str] = set()
LIMITS_NOT_YET: set[str] = set()


def product_text(*leave_out: str) -> str:
    """Return the product's source in one string, without the files that only declare."""
    paths = [*ROOT.glob("gateway/**/*.py"), *ROOT.glob("_fastpath/*.p*")]
    kept = [path for path in paths if str(path.relative_to(ROOT)) not in leave_out]
    return "\n".join(path.read_text() for path in kept if path.suffix in {".py", ".pyx", ".pxd"})


def test_every_metric_is_counted() -> None:
    text = product_text("gateway/metrics.py")
    names = {name for name, value in vars(metrics).items() if isinstance(value, metrics.Metric)}
    unused = {name for name in names if not re.search(rf"\b{name}\b", text)}
    assert unused == METRICS_NOT_YET


def test_every_limit_is_enforced() -> None:
    text = product_text("gateway/limits.py")
    names = {name for name in vars(limits) if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}
    unused = {name for name in names if not re.search(rf"\b{name}\b", text)}
    assert unused == LIMITS_NOT_YET


def test_every_setting_is_read() -> None:
    text = product_text(
        "gateway/config.py",
        "gateway/config_build.py",
        "gateway/config_credential.py",
        "gateway/config_issuers.py",
        "gateway/config_source.py",
        "gateway/config_targets.py",
        "gateway/config_values.py",
        "gateway/cli/reference.py",
    )
    read_as_one = {("Pool", "mode"), ("Audit", "durability")}  # one value: checked, never asked
    for tree in (
        Listen,
        Connectors,
        Workers,
        Pool,
        Sessions,
        Control,
        Store,
        Audit,
        Target,
        Issuer,
    ):
        for item in dataclasses.fields(tree):
            if (tree.__name__, item.name) not in read_as_one:
                assert re.search(rf"\.{item.name}\b", text), f"{tree.__name__}.{item.name}"
