"""What `postern check` looks at: everything a start relies on, each by itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config, Issuer
from gateway.errors import ClientError, ConfigError, GatewayError, PolicyError, UpstreamError
from gateway.identity.refresh import fetch_keys
from gateway.identity.saml.apart import Reader
from gateway.limits import DISK_REFUSE_SHARE, DISK_WARN_SHARE, JWKS_BYTES_MAX
from gateway.process.activation import ConfigSource, explain, read_policies
from gateway.process.machine import check_pool, check_room, find_warnings
from gateway.process.targets import inspect_targets
from gateway.process.tls import build_server_context
from gateway.process.validate import find_problems
from gateway.upstream.logins import resolve_login
from gateway.upstream.selfcheck import read_limits


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check."""

    what: str
    is_good: bool
    text: str
    is_warning: bool = False  # good enough to start with


def run_checks(source: ConfigSource) -> list[Finding]:
    """Check everything; raises ConfigError only when the configuration cannot be read."""
    config = source.load()
    return [
        Finding("config", is_good=True, text=str(source.path or "defaults and environment")),
        _check_tls(config),
        *_check_policies(config),
        *_check_targets(config),
        *_check_issuers(config),
        _check_disk(config.data_dir),
        *(Finding(*pair, is_warning=True) for pair in _find_warnings(config)),
    ]


def _find_warnings(config: Config) -> Iterator[tuple[str, bool, str]]:
    found = [*find_warnings(config), *asyncio.run(_pool_warnings(config))]
    place = config.data_dir
    while not place.exists():
        place = place.parent
    found += check_room(shutil.disk_usage(place).free)
    for what, text in found:
        yield what, True, text


async def _pool_warnings(config: Config) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for target in config.targets.values():
        try:
            login, secret = await asyncio.to_thread(resolve_login, target, os.environ)
            server = await read_limits(login, secret)
        except (ConfigError, UpstreamError):
            continue  # said by the check of the target itself
        found += check_pool(config, target, server)
    return found


def _check_tls(config: Config) -> Finding:
    try:
        context = build_server_context(config.listen)
    except ConfigError as error:
        return Finding("tls", is_good=False, text=str(error))
    addresses = ", ".join(config.listen.postgres)
    how = "with TLS" if context else "without TLS, loopback only"
    if context is None and not config.listen.require_tls:
        how = "without TLS: tokens travel in clear text"
    return Finding("listen", is_good=True, text=f"{addresses} {how}")


def _check_policies(config: Config) -> Iterator[Finding]:
    try:
        bundle = read_policies(config)
    except (PolicyError, OSError) as error:
        for line in explain(error):
            yield Finding("policies", is_good=False, text=line)
        return
    problems = find_problems(bundle, config.targets)
    for problem in problems:
        yield Finding("policies", is_good=False, text=problem)
    if not problems:
        text = f"{config.policies}, digest {bundle.digest[:12]}"
        yield Finding("policies", is_good=True, text=text)


def _check_targets(config: Config) -> Iterator[Finding]:
    if not config.targets:
        yield Finding("targets", is_good=False, text="none: add a [targets.<name>] table")
        return
    for report in asyncio.run(inspect_targets(config.targets, os.environ)):
        what = f"target {report.name}"
        for problem in (report.unusable, *report.problems):
            if problem:
                yield Finding(what, is_good=False, text=problem)
        if report.is_good:
            target = config.targets[report.name]
            text = f"{target.user} at {target.host}:{target.port}, database {target.database}"
            if target.allow_superuser:
                text += "; a superuser login role is allowed"
            yield Finding(what, is_good=True, text=text)


def _check_issuers(config: Config) -> Iterator[Finding]:
    if not config.issuers:
        yield Finding("issuers", is_good=False, text="none: nobody can log in")
    for issuer in config.issuers:
        yield asyncio.run(_check_issuer(issuer))


async def _check_issuer(issuer: Issuer) -> Finding:
    what = f"issuer {issuer.id}"
    if issuer.kind == "local":
        return Finding(what, is_good=True, text="local, for development only")
    try:
        if issuer.saml_metadata is not None:
            found = await Reader().read_metadata(issuer.saml_metadata.read_bytes(), issuer.issuer)
            text = f"{issuer.issuer}, {len(found['certificates'])} certificates"
            return Finding(what, is_good=True, text=text)
        if issuer.jwks_file is not None:
            return Finding(what, is_good=True, text=_count_keys(issuer.jwks_file))
        keys = await fetch_keys(issuer)
    except ClientError as error:
        return Finding(what, is_good=False, text=error.reason)
    except (GatewayError, OSError, ValueError) as error:
        return Finding(what, is_good=False, text=str(error))
    return Finding(what, is_good=True, text=f"{issuer.issuer}, {len(keys)} keys")


def _count_keys(path: Path) -> str:
    with path.open("rb") as file:
        found = json.loads(file.read(JWKS_BYTES_MAX))
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError(f"{path} holds no keys")
    return f"{path}, {len(keys)} keys"


def _check_disk(data_dir: Path) -> Finding:
    place = data_dir
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    share = usage.used / usage.total
    text = f"{data_dir}: {share:.0%} used, {usage.free / 2**30:.1f} GiB free"
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("disk", is_good=False, text=f"{data_dir}: not writable by this user")
    if share >= DISK_REFUSE_SHARE:
        return Finding("disk", is_good=False, text=f"{text}; statements would be refused")
    if share >= DISK_WARN_SHARE:
        return Finding("disk", is_good=False, text=f"{text}; over the {DISK_WARN_SHARE:.0%} mark")
    return Finding("disk", is_good=True, text=text)
