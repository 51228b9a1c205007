"""What an approval is for, as one digest.

Anything that may change what the statement does, who does it or why it was said to be done is in
here: a resend that differs in one byte of any of it finds no approval. Fields are length-prefixed,
so no two different requests can be spelled the same way.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.approvals.model import ApprovalRequest, Parameter

DOMAIN = b"postern-approval-v1"


class _Digest:
    """SHA-256 over length-prefixed fields."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(DOMAIN)

    def put(self, value: bytes) -> None:
        self._hash.update(len(value).to_bytes(8, "big"))
        self._hash.update(value)

    def text(self, value: str) -> None:
        self.put(value.encode("utf-8", "surrogatepass"))

    def texts(self, values: Iterable[str]) -> None:
        items = list(values)
        self._hash.update(len(items).to_bytes(8, "big"))
        for item in items:
            self.text(item)

    def params(self, params: tuple[Parameter, ...]) -> None:
        self._hash.update(len(params).to_bytes(8, "big"))
        for param in params:
            self._hash.update(param.type_oid.to_bytes(8, "big"))
            self._hash.update(param.format.to_bytes(1, "big"))
            # NULL and the empty string are different values.
            self._hash.update(b"\x00" if param.value is None else b"\x01")
            self.put(param.value or b"")

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def binding_digest(request: ApprovalRequest) -> str:
    """Return the hex digest two requests share exactly when one approval covers both."""
    digest = _Digest()
    digest.text(request.principal.key)
    digest.text(request.principal.agent or "")
    digest.texts(sorted(set(request.principal.groups)))
    digest.text(request.target)
    digest.text(request.role)
    digest.put(request.sql)
    digest.params(request.params)
    digest.texts(request.search_path)  # order is meaning here
    digest.texts(sorted(set(request.objects)))
    digest.texts(sorted(set(request.effects)))
    digest.text(request.policy_digest)
    digest.text(request.catalog_version)
    digest.text(request.transaction)
    digest.text(request.reason)
    digest.text(request.ticket)
    return digest.hexdigest()
