"""From a configuration to a running gateway, each step before the next can rely on it.

Configuration, data directory and its lock, policies, targets, sockets; only then the forks.
A target whose login role is too strong, or whose roles are missing, ends the start. A target
that cannot be used right now does not, as long as another can: its clients get PN107 until
the database is back.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from _fastpath.journal import Journal
from gateway import metrics
from gateway.audit.journal import Recorder
from gateway.config import Config
from gateway.errors import AuditUnwritable
from gateway.identity.authority import Authority
from gateway.ipc import paths
from gateway.ipc.crash_memory import CrashMemory
from gateway.ipc.epochs import Epochs
from gateway.limits import JOURNAL_CONTROL_BYTES
from gateway.logs import get_logger
from gateway.policy.bundle import Bundle
from gateway.process.activation import (
    ConfigSource,
    Reloader,
    activate,
    active_digest,
    read_policies,
)
from gateway.process.analyzer import analyzer_main
from gateway.process.child import Main
from gateway.process.control import control_main
from gateway.process.data_dir import DataDirLock, prepare_data_dir
from gateway.process.exits import StartError
from gateway.process.listeners import bind_listeners, close_listeners, describe
from gateway.process.supervisor import Gateway, Record, Supervisor, Timing
from gateway.process.targets import TargetReport, inspect_targets_apart
from gateway.process.tls import build_server_context
from gateway.process.validate import find_problems_apart
from gateway.process.worker import worker_main
from gateway.process.writer import writer_main
from gateway.upstream.secrecy import forbid_core_dumps

# What every process needs is imported once, before the fork, and its pages stay shared.
_PRELOAD = ("gateway.session.server", "gateway.policy.engine", "gateway.audit.writer", "uvloop")

MAINS: Mapping[str, Main] = {
    "writer": writer_main,
    "control": control_main,
    "analyzer": analyzer_main,
    "worker": worker_main,
}

log = get_logger("supervisor")


def run_gateway(
    source: ConfigSource,
    announce: Callable[[str], None],
    *,
    mains: Mapping[str, Main] = MAINS,
    timing: Timing | None = None,
) -> int:
    """Run the gateway until it is told to stop; return the exit code.

    Raises ConfigError, PolicyError or StartError when it cannot start.
    """
    config = source.load()
    forbid_core_dumps()
    build_server_context(config.listen)  # a bad certificate ends the start, not each worker
    if not config.targets:
        raise StartError("no target is configured: add a [targets.<name>] table")
    bundle = read_policies(config)
    _prepare(config)
    lock = DataDirLock(config.data_dir)
    lock.acquire()
    try:
        record = open_record(config)
        metrics.open_process(config.data_dir, "supervisor")
        epochs = Epochs.create(paths.epochs_file(config.data_dir))
        judge_targets(inspect_targets_apart(config.targets), config, announce, record)

        def validate(new: Bundle) -> list[str]:
            return find_problems_apart(new, config.targets, paths.mask_bindings(config.data_dir))

        judge_bundle(bundle, validate(bundle), active_digest(config.data_dir), announce)
        generation = activate(bundle, config.data_dir, epochs)
        announce(f"policies {config.policies} active, {bundle.digest[:12]}")
        sockets = bind_listeners(config.listen.postgres)
        try:
            for sock in sockets:
                announce(f"listening on {describe(sock)}")
            record("policy.activated", digest=bundle.digest, generation=generation)
            gateway = Gateway(
                config=config,
                data_dir=config.data_dir,
                sockets=sockets,
                epochs=epochs,
                crashes=CrashMemory.create(paths.crash_file(config.data_dir)),
                mains=mains,
                reload=Reloader(
                    source,
                    config,
                    bundle,
                    validate=validate,
                    epochs=epochs,
                    announce=announce,
                    record=record,
                ),
            )
            _preload(mains)
            return Supervisor(gateway, announce=announce, record=record, timing=timing).run()
        finally:
            close_listeners(sockets)
    finally:
        lock.release()


def _prepare(config: Config) -> None:
    prepare_data_dir(config.data_dir)
    if config.connectors.listen:
        # Here, before the forks: all workers read it.
        Authority(paths.connectors_dir(config.data_dir)).prepare()


def open_record(config: Config) -> Record:
    """Return a function that records supervisor events; it logs what it cannot record."""
    path = paths.journal_file(config.data_dir, "supervisor")
    try:
        recorder = Recorder(Journal(str(path), JOURNAL_CONTROL_BYTES))
    except OSError as error:
        raise StartError(f"{path}: {error.strerror or error}") from error

    def record(kind: str, **fields: Any) -> None:
        # Losing a process event must not cost the gateway its supervisor.
        try:
            recorder.record(kind, **fields)
        except AuditUnwritable as error:
            log.error("event %s not recorded: %s", kind, error.reason)  # noqa: TRY400

    return record


def judge_targets(
    reports: list[TargetReport],
    config: Config,
    announce: Callable[[str], None],
    record: Record,
) -> None:
    """Announce what was found; raises StartError when the gateway must not start with it."""
    for report in reports:
        if report.problems:
            raise StartError("; ".join(report.problems))
    direct = [report for report in reports if config.targets[report.name].connector is None]
    # A connector can only dial in once the gateway runs.
    if len(direct) == len(reports) and all(report.unusable for report in direct):
        raise StartError("; ".join(report.unusable for report in reports))
    for report in reports:
        connector = config.targets[report.name].connector
        if report.unusable and connector is not None:
            announce(f"target {report.name} waits for connector {connector}")
        elif report.unusable:
            announce(f"warning: {report.unusable}; its clients get PN107 until it is back")
            record("target.unusable", target=report.name, reason=report.unusable)
        else:
            announce(f"target {report.name} checked")
        if config.targets[report.name].allow_superuser:
            announce(f"warning: target {report.name} allows a superuser login role")
            record("security.superuser_allowed", target=report.name)


def judge_bundle(
    bundle: Bundle, problems: list[str], active: str, announce: Callable[[str], None]
) -> None:
    """Refuse a new bundle that does not fit the databases; raises StartError.

    One that was in force before goes on: the database changed under it, what it cannot bind it
    blocks, and a restart must not turn that into an outage of everything else.
    """
    for problem in problems:
        announce(f"policy problem: {problem}")
    if problems and bundle.digest != active:
        raise StartError(f"the policies do not fit the databases, {len(problems)} problems")


def _preload(mains: Mapping[str, Main]) -> None:
    if mains is MAINS:
        for module in _PRELOAD:
            importlib.import_module(module)
    # What exists now lives as long as the process. Frozen, it is not written to by the first
    # collection of every child, and its pages stay shared.
    gc.collect()
    gc.freeze()
