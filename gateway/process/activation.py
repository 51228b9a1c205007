"""Make a policy bundle the active one: validate, write, then bump the generation.

Every process reads the written copy and notices the generation; a bundle with a problem never
replaces the one in force.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import metrics
from gateway.config import Config, load_config
from gateway.errors import ConfigError, PolicyError
from gateway.ipc import paths
from gateway.ipc.epochs import POLICY, Epochs
from gateway.policy.bundle import Bundle
from gateway.policy.load import load_bundle
from gateway.process.data_dir import write_atomic
from gateway.process.exits import StartError
from gateway.process.supervisor import Record

Validate = Callable[[Bundle], list[str]]  # what does not fit the databases, one line each

# Settings a running gateway takes over; all others are fixed when its processes are forked.
_LIVE = frozenset({"policies"})


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where the configuration comes from, so that a reload reads it the same way."""

    path: Path | None
    environ: Mapping[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Config:
        """Read it now; raises ConfigError."""
        return load_config(self.path, self.environ, self.overrides)


def active_digest(data_dir: Path) -> str:
    """Digest of the bundle last put in force here; empty when there is none."""
    try:
        return Bundle.from_json(paths.active_policy(data_dir).read_bytes()).digest
    except (OSError, PolicyError):
        return ""


def read_policies(config: Config) -> Bundle:
    """Load and validate the bundle of `config`; raises PolicyError."""
    issuers = [issuer.id for issuer in config.issuers]
    return load_bundle(config.policies, targets=list(config.targets), issuers=issuers)


def activate(bundle: Bundle, data_dir: Path, epochs: Epochs) -> int:
    """Put `bundle` in force and return its generation."""
    write_atomic(paths.active_policy(data_dir), bundle.to_json())
    return epochs.bump(POLICY)


class Reloader:
    """Reads configuration and policies again on SIGHUP: all of it takes effect, or nothing."""

    def __init__(
        self,
        source: ConfigSource,
        config: Config,
        bundle: Bundle,
        *,
        validate: Validate,
        epochs: Epochs,
        announce: Callable[[str], None],
        record: Record,
    ) -> None:
        self._source = source
        self._config = config
        self._digest = bundle.digest
        self._validate = validate
        self._epochs = epochs
        self._announce = announce
        self._record = record

    def __call__(self) -> None:
        """Reload, report and record. Does not raise for what an operator can get wrong."""
        try:
            config = self._source.load()
            if fixed := [name for name in find_changes(self._config, config) if name not in _LIVE]:
                raise ConfigError(", ".join(fixed), "a change needs a restart")
            bundle = read_policies(config)
            self._require_agreed(config, bundle)
            problems = [] if bundle.digest == self._digest else self._validate(bundle)
        except (ConfigError, PolicyError, StartError, OSError) as error:
            self._refuse(explain(error))
            return
        if problems:
            self._refuse(problems)
            return
        self._config = config
        if bundle.digest == self._digest:
            self._announce(f"reload: policies unchanged, {_short(bundle.digest)}")
            self._record("policy.unchanged", digest=bundle.digest)
            return
        try:
            generation = activate(bundle, config.data_dir, self._epochs)
        except OSError as error:
            self._refuse(explain(error))
            return
        before, self._digest = self._digest, bundle.digest
        self._announce(f"reload: policies {_short(bundle.digest)} active")
        metrics.inc(metrics.RELOADS.slot("activated"))
        self._record(
            "policy.activated", digest=bundle.digest, previous=before, generation=generation
        )

    def _require_agreed(self, config: Config, bundle: Bundle) -> None:
        """Raise ConfigError where several people must agree and have not agreed to `bundle`."""
        if config.control.policy_quorum == 1 or bundle.digest == self._digest:
            return
        try:
            agreed = paths.approved_policy(config.data_dir).read_text()
        except OSError:
            agreed = ""
        if agreed != bundle.digest:
            number = config.control.policy_quorum
            text = f"{number} admins must first say yes to it on the policy page"
            raise ConfigError(f"policies {_short(bundle.digest)}", text)

    def _refuse(self, problems: list[str]) -> None:
        for problem in problems:
            self._announce(f"reload refused: {problem}")
        self._announce(f"reload: policies {_short(self._digest)} stay active")
        metrics.inc(metrics.RELOADS.slot("refused"))
        self._record("policy.rejected", problems=problems[:20], active=self._digest)


def explain(error: Exception) -> list[str]:
    """One line per problem of `error`."""
    if isinstance(error, PolicyError):
        return [str(problem) for problem in error.problems]
    return [str(error)]


def find_changes(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted names of the settings in which two configurations differ."""
    return sorted(_changes(old, new, prefix))


def _changes(old: Any, new: Any, prefix: str) -> Iterator[str]:
    if old == new:
        return
    before, after = _parts(old), _parts(new)
    if before is None or after is None or type(old) is not type(new):
        yield prefix
        return
    for name in before.keys() | after.keys():
        yield from _changes(before.get(name), after.get(name), f"{prefix}.{name}".lstrip("."))


def _parts(value: Any) -> dict[str, Any] | None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return dict(value) if isinstance(value, Mapping) else None


def _short(digest: str) -> str:
    return digest[:12]
