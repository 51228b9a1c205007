"""What every run shows first, and the settings that hold for all suites."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    max_examples=50,
    deadline=None,  # other suites share the machine; time is bounded by pytest's timeout
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_report_header(config: pytest.Config) -> str:
    """Name what the results depend on."""
    return f"cython {version('Cython')}, uvloop {version('uvloop')}, {_postgres_versions()}"


def _postgres_versions() -> str:
    places = [*Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    found = shutil.which("postgres")
    if found:
        places.append(Path(found))
    versions = set()
    for place in places:
        answer = subprocess.run([place, "--version"], capture_output=True, text=True, check=False)
        versions.add(answer.stdout.strip() or str(place))
    return ", ".join(sorted(versions)) or "no PostgreSQL of the system"
