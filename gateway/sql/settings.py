"""Which settings a session may change, to which values, and which it may read.

Everything else is an effect `session.set` and needs its own grant (leak-classes.md, section 3).
Values that change how text is parsed or printed must equal the pins the gateway relies on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_BOOLEANS: Final = frozenset("on off true false yes no 1 0 t f y n tr tru fa fal fals".split())
_TRUE: Final = frozenset("on true yes 1 t y".split())


def _any(_value: str) -> bool:
    return True


def _boolean(value: str) -> bool:
    return value.lower() in _BOOLEANS


def _one_of(*allowed: str) -> Callable[[str], bool]:
    return lambda value: value.lower().strip() in allowed


def _date_style(value: str) -> bool:
    # Only what leaves the ParameterStatus "ISO, MDY" as it is.
    return [part.strip() for part in value.lower().split(",")] in (["iso"], ["iso", "mdy"])


def _float_digits(value: str) -> bool:
    return re.fullmatch(r"[0-3]", value) is not None


def _application_name(value: str) -> bool:
    return len(value) <= 256


_ISOLATION: Final = _one_of("serializable", "repeatable read", "read committed", "read uncommitted")

SAFE: Final[dict[str, Callable[[str], bool]]] = {
    "application_name": _application_name,
    "bytea_output": _one_of("hex"),
    "client_encoding": _one_of("utf8", "utf-8", "unicode"),
    "client_min_messages": _one_of("notice", "warning", "error"),
    "datestyle": _date_style,
    "default_transaction_deferrable": _boolean,
    "default_transaction_isolation": _ISOLATION,
    "escape_string_warning": _one_of("on"),
    "extra_float_digits": _float_digits,
    "intervalstyle": _one_of("postgres"),
    "jit": _boolean,
    "standard_conforming_strings": _one_of("on"),
    "timezone": _any,
    "transaction_deferrable": _boolean,
    "transaction_isolation": _ISOLATION,
}

# Switching these off undoes the read-only lock of a read role: a write effect of its own.
READ_ONLY: Final = frozenset({"transaction_read_only", "default_transaction_read_only"})

# Settings of the transaction: gone when it ends, so they never pin.
TRANSACTION: Final = frozenset(
    {"transaction_isolation", "transaction_deferrable", "transaction_read_only"}
)


def is_safe(name: str, value: str) -> bool:
    """Whether `name` may be set to `value` by anyone."""
    check = SAFE.get(name.lower())
    return check is not None and check(value)


def is_true(value: str) -> bool:
    """Whether a boolean setting's text means on."""
    return value.lower() in _TRUE


# What a client may read with SHOW or current_setting().
READABLE: Final = frozenset(
    """
application_name array_nulls block_size bytea_output client_encoding client_min_messages
check_function_bodies constraint_exclusion datestyle default_table_access_method default_tablespace
default_text_search_config
default_transaction_deferrable default_transaction_isolation default_transaction_read_only
enable_partition_pruning escape_string_warning extra_float_digits
idle_in_transaction_session_timeout
idle_session_timeout in_hot_standby integer_datetimes intervalstyle is_superuser jit lc_collate
lc_ctype lc_messages lc_monetary lc_numeric lc_time lock_timeout max_connections
max_identifier_length max_index_keys max_prepared_transactions password_encryption
plan_cache_mode quote_all_identifiers role row_security search_path segment_size server_encoding
server_version server_version_num session_authorization session_replication_role ssl
standard_conforming_strings statement_timeout synchronous_commit temp_tablespaces timezone
timezone_abbreviations transaction_deferrable transaction_isolation transaction_read_only
transaction_timeout wal_level wal_block_size work_mem xmlbinary xmloption
""".split()
)
