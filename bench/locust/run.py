"""The demo's installation under a load of agents: `python -m bench.locust.run --users 20`.

Ends with locust's own status: 0 only if nothing unexpected happened.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from gateway.demo.stand import TARGET, Stand

FILE = Path(__file__).with_name("locustfile.py")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.locust.run", description=__doc__)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--rate", type=float, default=10, help="new users per second")
    parser.add_argument("--time", default="30s", help="how long, as locust reads it")
    parser.add_argument("--csv", help="write locust's tables with this prefix")
    options = parser.parse_args()
    stand = Stand()
    try:
        stand.open(lambda part: print(f"preparing {part}", file=sys.stderr))
        raise SystemExit(_run(stand, options))
    finally:
        stand.close()


def _run(stand: Stand, options: argparse.Namespace) -> int:
    environ = {
        **os.environ,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(stand.port),
        "PGDATABASE": TARGET,
        "PGUSER": "agent",
        "PGPASSWORD": stand.agent_token,
        "PGSSLMODE": "disable",
        "POSTERN_URL": stand.url,
        "POSTERN_REVIEWER_TOKEN": stand.reviewer_token,
    }
    command = [sys.executable, "-m", "locust", "-f", str(FILE), "--headless", "--only-summary"]
    command += ["-u", str(options.users), "-r", str(options.rate), "-t", options.time]
    command += ["--csv", options.csv] if options.csv else []
    return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    main()
