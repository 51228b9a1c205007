"""Where the processes of one gateway meet inside its data directory."""

from __future__ import annotations

from pathlib import Path


def run_dir(data_dir: Path) -> Path:
    """Sockets, epochs and crash memory: worthless after the gateway has ended."""
    return data_dir / "run"


def lock_file(data_dir: Path) -> Path:
    """Locked by the supervisor as long as any of its processes lives; holds its process id."""
    return data_dir / "postern.pid"


def epochs_file(data_dir: Path) -> Path:
    """Generations and heartbeats, see `gateway.ipc.epochs`."""
    return run_dir(data_dir) / "epochs"


def tallies_file(data_dir: Path) -> Path:
    """Open sessions and counted statements per principal, see `gateway.ipc.tallies`."""
    return data_dir / "tallies"


def crash_file(data_dir: Path) -> Path:
    """Texts that took an analyzer down, see `gateway.ipc.crash_memory`."""
    return run_dir(data_dir) / "crashes"


def analyzer_socket(data_dir: Path, number: int) -> Path:
    """Answers profile and decide requests."""
    return run_dir(data_dir) / f"analyzer-{number}.sock"


def worker_socket(data_dir: Path, number: int) -> Path:
    """Takes cancel requests that arrived at another worker."""
    return run_dir(data_dir) / f"worker-{number}.sock"


def control_socket(data_dir: Path) -> Path:
    """Answers approval, session and key requests."""
    return run_dir(data_dir) / "control.sock"


def journal_file(data_dir: Path, process: str) -> Path:
    """Ring of audit records of one process, for example `worker-0`."""
    return data_dir / "journal" / f"{process}.ring"


def approved_policy(data_dir: Path) -> Path:
    """The digest that people last agreed to activate; counts with `control.policy_quorum`."""
    return data_dir / "policy" / "approved"


def active_policy(data_dir: Path) -> Path:
    """The activated bundle all processes read."""
    return data_dir / "policy" / "active.json"


def mask_bindings(data_dir: Path) -> Path:
    """Which columns the masks in force were bound to, see `gateway.policy.kept`."""
    return data_dir / "policy" / "bindings.json"


def keys_dir(data_dir: Path) -> Path:
    """Key sets of the issuers, one file each."""
    return data_dir / "keys"


def link_socket(data_dir: Path, slot: int) -> Path:
    """Takes the connectors' data connections for one worker, as descriptors."""
    return run_dir(data_dir) / f"link-{slot}.sock"


def connectors_dir(data_dir: Path) -> Path:
    """The authority that connectors are known by, and who joined."""
    return data_dir / "connectors"


def target_sockets_dir(data_dir: Path) -> Path:
    """Sockets of the targets that connectors reach, one directory each."""
    return run_dir(data_dir) / "connectors"
