"""The shared gateways, and their logs beside a failure."""

from __future__ import annotations

from tests.support.stands import (  # noqa: F401  fixtures and a hook
    each_gateway,
    each_stand,
    gateway,
    pytest_runtest_makereport,
    stand,
    stands,
)
