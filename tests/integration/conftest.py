"""Fixtures that several files of this directory share."""

from __future__ import annotations

from tests.integration.dial_parts import run, server

__all__ = ["run", "server"]
