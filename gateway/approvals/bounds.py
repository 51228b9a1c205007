"""The approval desk's own bounds, beside those of `gateway.limits`.

Exceeding one refuses the request; nothing is ever cut short.
"""

from __future__ import annotations

from typing import Final

SQL_BYTES_MAX: Final = 256 << 10  # statement and parameters together: a person has to read them
PARAMS_MAX: Final = 1_024
NAMES_MAX: Final = 256  # objects, effects, approver groups, search_path entries
NAME_BYTES_MAX: Final = 4_096
TTL_S_MAX: Final = 400 * 86_400.0  # the policy owner's business up to here

WAITERS_MAX: Final = 20_000
WAIT_S_MAX: Final = 60.0  # one approval.wait; a longer hold asks again
STORE_QUEUE_MAX: Final = 2_000  # calls waiting for the one store thread
CALL_TIMEOUT_S: Final = 5.0  # a worker's call that does not wait for a person
CONSUME_TRIES: Final = 3

EXCERPT_CHARS: Final = 400
