"""What an analyzer tells people about policy and databases: explanations, tests, status.

`explain` parses text that somebody typed, so the analyzer runs it in a copy of itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import PolicyError
from gateway.policy.decision import DecideRequest
from gateway.policy.engine import Engine
from gateway.policy.explain import explain, principal_in, run_tests


def explain_json(engine: Engine, message: Mapping[str, Any]) -> bytes:
    """Return the explanation of a statement for members of groups, or what is wrong with it."""
    try:
        found = explain(
            engine,
            DecideRequest(
                principal=principal_in(engine.bundle, message["groups"]),
                target=message["target"],
                requested=message.get("requested", ""),
                sql=message["sql"].encode(),
            ),
        )
    except PolicyError as error:
        return orjson.dumps({"problem": "; ".join(p.message for p in error.problems)})
    return orjson.dumps(
        {
            "decision": found.decision.to_wire(),
            "groups": found.groups,
            "level": found.level,
            "statements": [dataclasses.asdict(line) for line in found.statements],
        }
    )


def tests_json(engine: Engine) -> bytes:
    """Return the results of the active policy's tests, and what does not fit the databases."""
    return orjson.dumps(
        {
            "tests": [dataclasses.asdict(result) for result in run_tests(engine)],
            "problems": [str(problem) for problem in engine.problems],
            "warnings": [str(warning) for warning in engine.warnings],
        }
    )
