"""The process that reads XML from outside: one document, then it ends.

It gets the document on its standard input, holds no secret, and has bounds of the kernel's on
time, memory and files: whatever a document does to the parser, it does to this process.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
from typing import Any, Final

_CPU_S: Final = 5
_MEMORY_BYTES: Final = 1 << 30


def main() -> int:
    """Answer the question on standard input; status 0 with an answer, whatever it is."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # A core would hold the assertion.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = _answer(json.loads(sys.stdin.buffer.read()))
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    return 0


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    # Under the limits, and only where they are needed: lxml is large.
    from gateway.errors import TokenInvalid  # noqa: PLC0415
    from gateway.identity.saml.metadata import read_metadata  # noqa: PLC0415
    from gateway.identity.saml.response import expected_from_wire, read_response  # noqa: PLC0415

    data = base64.b64decode(question["document"])
    try:
        if question["what"] == "metadata":
            return {"found": read_metadata(data, question["entity"])}
        expected = expected_from_wire(question["expected"])
        return {"found": read_response(data, expected).to_wire()}
    except TokenInvalid as refused:
        return {"refused": refused.reason}


if __name__ == "__main__":
    raise SystemExit(main())
