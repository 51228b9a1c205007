"""Exit codes, and the errors that lead to them."""

from __future__ import annotations

from typing import Final

from gateway.errors import GatewayError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_BOOT: Final = 3  # a child's: it cannot start, and trying again at once will not help
EXIT_BUG: Final = 70
EXIT_CONFIG: Final = 78


class StartError(GatewayError):
    """Something outside the configuration keeps the gateway from starting; exit status 1."""
