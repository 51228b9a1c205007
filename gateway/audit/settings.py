"""The bounds of the audit writer."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSettings:
    """The writer's bounds; tests make them small."""

    segment_bytes_max: int = limits.SEGMENT_BYTES_MAX
    segment_age_s_max: float = limits.SEGMENT_AGE_S_MAX
    checkpoint_s: float = limits.CHECKPOINT_S
    batch_bytes_max: int = 512 << 10
    sync_s: float = limits.WRITER_SYNC_S
    pack: bool = True  # closed segments are compressed
    is_group: bool = False  # producers wait for the flush: wake them, and be woken by them
    disk_warn_share: float = limits.DISK_WARN_SHARE
    disk_refuse_share: float = limits.DISK_REFUSE_SHARE
