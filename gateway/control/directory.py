"""What a verified identity may do here: policy groups and roles from the *active* policy.

Tokens bring `issuer:group`; the policy says which of these make a policy group and whether it is
one of agents; the configuration says which policy groups hold which role. Without a readable
active policy nobody is in any group, so nobody decides anything.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.approvals.rules import Person
from gateway.errors import GatewayError
from gateway.ipc.epochs import POLICY
from gateway.policy.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.config import Control
    from gateway.ipc.epochs import Epochs
    from gateway.policy.model import Group
    from gateway.policy.principal import Principal

log = logging.getLogger(__name__)


class Directory:
    """Follows the active policy and answers who is who under it."""

    def __init__(self, control: Control, epochs: Epochs, path: Path) -> None:
        self._roles = {
            "reviewer": frozenset(control.reviewers),
            "admin": frozenset(control.admins),
            "auditor": frozenset(control.auditors),
        }
        self._epochs = epochs
        self._path = path
        self._epoch = -1
        self._digest = ""
        self._groups: Mapping[str, Group] = {}
        self._lock = asyncio.Lock()

    async def policy_digest(self) -> str:
        """Return the digest of the active policy, "" when there is none to be read."""
        await self.refresh()
        return self._digest

    async def person(self, principal: Principal) -> Person:
        """Return `principal` with its groups and roles under the active policy."""
        await self.refresh()
        own = set(principal.groups)
        groups = {name for name, group in self._groups.items() if not own.isdisjoint(group.from_)}
        return Person(
            principal=principal,
            groups=frozenset(groups),
            agent_groups=frozenset(n for n in groups if self._groups[n].kind == "agent"),
            roles=frozenset(
                r for r, wanted in self._roles.items() if not wanted.isdisjoint(groups)
            ),
        )

    async def refresh(self) -> None:
        """Read the active policy again if it changed."""
        if self._epochs.get(POLICY) == self._epoch and self._digest:
            return
        async with self._lock:
            epoch = self._epochs.get(POLICY)  # before reading: a later change is seen next time
            if epoch == self._epoch and self._digest:
                return
            try:
                bundle = await asyncio.to_thread(self._read)
            except (OSError, ValueError, GatewayError) as exc:
                self._digest, self._groups = "", {}
                log.warning("the active policy cannot be read, nobody has a role: %s", exc)
                return
            self._epoch, self._digest, self._groups = epoch, bundle.digest, bundle.policy.groups

    def _read(self) -> Bundle:
        return Bundle.from_json(self._path.read_bytes())
