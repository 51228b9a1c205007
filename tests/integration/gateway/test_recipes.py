"""The recipes of docs/identity.md: a fresh token for each connection, and no secret in a file."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy import event

from tests.support.gateway import GatewayProcess

NODE = Path(__file__).parents[2] / "conformance" / "node"
JDBC = Path(__file__).parents[2] / "conformance" / "jdbc"
NODE_PROGRAM = """
import { exec } from 'node:child_process';
import { promisify } from 'node:util';
import pg from 'pg';
const run = promisify(exec);
const pool = new pg.Pool({
  host: '127.0.0.1', port: Number(process.env.PORT), database: 'orders', user: 'agent',
  password: async () => (await run('postern token exchange')).stdout.trim(),
});
console.log((await pool.query('select 6 * 7 as n')).rows[0].n);
await pool.end();
"""


@dataclass
class Shell:
    """What an agent's environment holds: where the gateway is, and a mounted workload token."""

    gateway: GatewayProcess
    environ: dict[str, str]

    def token(self) -> str:
        """The recipes' `token()`."""
        command = ["postern", "token", "exchange"]
        return subprocess.check_output(command, text=True, env=self.environ).strip()

    def run(self, line: str, **environ: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, env=self.environ | environ,
            check=False, timeout=50,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def shell(gateway: GatewayProcess, tmp_path: Path) -> Iterator[Shell]:
    mounted = tmp_path / "workload-token"
    mounted.write_text(gateway.mint("workload", ["agents"]))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "postern").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m gateway.cli.main "$@"\n'
    )
    (programs / "postern").chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{programs}:{gateway.cluster.bin_dir}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "POSTERN_URL": f"http://127.0.0.1:{gateway.control_port}",
        "POSTERN_TOKEN_FILE": str(mounted),
        "PORT": str(gateway.port),
    }
    yield Shell(gateway, environ)


def test_psql(shell: Shell) -> None:
    line = (
        "PGPASSWORD=$(postern token exchange) "
        'psql "host=127.0.0.1 port=$PORT dbname=orders user=agent" -Atc "select 6 * 7"'
    )
    assert shell.run(line) == "42"


def test_service_file(shell: Shell, tmp_path: Path) -> None:
    services = tmp_path / "pg_service.conf"
    services.write_text(
        f"[orders]\nhost=127.0.0.1\nport={shell.gateway.port}\ndbname=orders\nuser=agent\n"
    )
    line = 'PGSERVICE=orders PGPASSWORD=$(postern token exchange) psql -Atc "select 6 * 7"'
    assert shell.run(line, PGSERVICEFILE=str(services)) == "42"


def test_psycopg(shell: Shell) -> None:
    with psycopg.connect(shell.gateway.dsn(), password=shell.token()) as connection:
        assert connection.execute("select 6 * 7").fetchone() == (42,)


def test_asyncpg(shell: Shell) -> None:
    async def main() -> object:
        dsn = f"postgresql://agent@127.0.0.1:{shell.gateway.port}/orders"
        connection = await asyncpg.connect(dsn, password=shell.token)
        try:
            return await connection.fetchval("select 6 * 7")
        finally:
            await connection.close()

    assert asyncio.run(main()) == 42


def test_sqlalchemy(shell: Shell) -> None:
    url = f"postgresql+psycopg://agent@127.0.0.1:{shell.gateway.port}/orders"
    engine = sqlalchemy.create_engine(url)

    @event.listens_for(engine, "do_connect")
    def give_token(_dialect: Any, _record: Any, _args: Any, params: dict[str, Any]) -> None:
        params["password"] = shell.token()

    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select 6 * 7")).scalar() == 42
    engine.dispose()


def test_node_postgres(shell: Shell) -> None:
    assert shutil.which("node"), "`make setup` installs Node.js"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", NODE_PROGRAM], cwd=NODE, env=shell.environ,
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("42", "")


def test_jdbc(shell: Shell) -> None:
    assert shutil.which("java"), "`make setup` installs Java where it may"
    jars = list((JDBC / "lib").glob("postgresql-*.jar"))
    assert jars, "`make setup` fetches the driver"
    done = subprocess.run(
        ["java", "-Xshare:auto", "-cp", str(jars[0]), "Recipe.java"], cwd=JDBC, env=shell.environ,
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("42", "")
