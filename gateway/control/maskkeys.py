"""Rotation of mask keys in a running gateway: written, made known to the workers, recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.errors import ConfigError
from gateway.ipc.epochs import POLICY
from gateway.session.maskkey import MaskKeys, load_mask_keys, save_mask_keys

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.control.trail import Trail
    from gateway.ipc.epochs import Epochs


class MaskKeyKeeper:
    """Changes the mask keys. Who can reach control.sock can read the data directory as well."""

    def __init__(self, data_dir: Path, epochs: Epochs, trail: Trail) -> None:
        self._data_dir = data_dir
        self._epochs = epochs
        self._trail = trail
        self._turn = asyncio.Lock()

    async def change(self, message: dict[str, Any]) -> dict[str, Any]:
        """Rotate the key of `domain` (None: of all), or take over `keys`, a key file in hex.

        The change is in the trail before it takes effect. Workers build their masks anew from the
        next statement on, as after a change of the policy. Raises Refusal.
        """
        domain, content, by = message.get("domain"), message.get("keys"), message.get("by")
        if not isinstance(by, str) or not isinstance(domain, str | None):
            raise Refusal(RefusalCode.INVALID, "malformed domain or by")
        async with self._turn:
            try:
                if content is None:
                    before = await asyncio.to_thread(load_mask_keys, self._data_dir)
                    keys = before.rotated(domain)
                else:
                    keys = MaskKeys.from_bytes(bytes.fromhex(str(content)))
            except (ValueError, ConfigError) as error:
                raise Refusal(RefusalCode.INVALID, str(error)) from error
            action = "mask key rotated" if content is None else "mask keys taken over"
            self._trail.record("admin.action", action=action, object=domain or "*", text=f"by {by}")
            try:
                await asyncio.to_thread(save_mask_keys, self._data_dir, keys)
            except OSError as error:
                raise Refusal(RefusalCode.BUSY, f"the key file: {error.strerror}") from error
            self._epochs.bump(POLICY)
        return {"id": keys.id_of(domain or "default")}
