"""node-postgres unchanged: the cases are in node/suite.test.js, run by Node's own test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.gateway import GatewayProcess

NODE_DIR = Path(__file__).parent / "node"


def test_node_postgres(each_gateway: GatewayProcess) -> None:
    assert (NODE_DIR / "node_modules" / "pg").is_dir(), "`make setup` installs node-postgres"
    path = f"{os.environ.get('PATH', '')}:{Path(sys.executable).parent}"
    node = shutil.which("node", path=path)
    assert node is not None, "`make setup` installs Node.js"
    done = subprocess.run(
        [node, "--test", "suite.test.js"],
        cwd=NODE_DIR,
        env=each_gateway.environment() | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "pass 0" not in done.stdout
