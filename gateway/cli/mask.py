"""`postern mask`: the keys behind the mask kinds `hash` and `uuid`. Never prints a key."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any, Final

import click

from gateway.cli.output import (
    EXIT_USAGE,
    config_option,
    fail,
    json_option,
    print_json,
    print_table,
    read_config,
)
from gateway.ipc import paths
from gateway.ipc.channel import Channel, ChannelError
from gateway.session.maskkey import MaskKeys, load_mask_keys, read_mask_keys, save_mask_keys

_TIMEOUT_S: Final = 5.0
# What a mask without `domain` uses is its own id; this name stands for all that follow the root.
_ANY: Final = "default"


@click.group("mask")
def command() -> None:
    """Show and rotate the keys of mask domains."""


@command.command()
@config_option
@json_option
@click.option("--domain", "domains", multiple=True, help="Also this domain; repeatable.")
def keys(config_path: Path | None, as_json: bool, domains: tuple[str, ...]) -> None:
    """Name the key of each domain, to compare gateways. The root serves all that have no own."""
    held = load_mask_keys(read_config(config_path).data_dir)
    names = sorted({*held.domains, *domains})
    root = held.id_of(_ANY)
    if as_json:
        print_json({"root": root, "domains": {name: held.id_of(name) for name in names}})
        return
    rows = [("(root)", root, "")]
    rows += [
        (name, held.id_of(name), "own" if name in held.domains else "of the root") for name in names
    ]
    print_table(("DOMAIN", "KEY", "FROM"), rows, empty="")


@command.command("rotate-key")
@config_option
@click.option("--domain", help="Only this mask domain; otherwise all of them.")
@click.option(
    "--from", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take over this key file of another gateway instead of making a new key.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
def rotate_key(
    config_path: Path | None, domain: str | None, source: Path | None, yes: bool
) -> None:
    """Give a mask domain a new key: all its hashes and UUIDs change, from the next statement on.

    A running gateway takes the key up at once and records it. Values shown before can no longer
    be compared with those shown after.
    """
    if domain is not None and source is not None:
        fail("--domain and --from exclude each other", EXIT_USAGE)
    data_dir = read_config(config_path).data_dir
    what = "all domains" if domain is None else f"domain {domain!r}"
    if not yes:
        click.confirm(f"Hashes of {what} will change. Go on?", abort=True)
    given = None if source is None else read_mask_keys(source)
    if paths.control_socket(data_dir).exists():
        message: dict[str, Any] = {"op": "mask.rotate", "domain": domain, "by": getpass.getuser()}
        if given is not None:
            message["keys"] = given.to_bytes().hex()
        key_id = _ask(paths.control_socket(data_dir), message)
        click.echo(f"{what}: key {key_id} in force")
        return
    try:
        changed = given or load_mask_keys(data_dir).rotated(domain)
        save_mask_keys(data_dir, changed)
    except (OSError, ValueError) as error:
        fail(str(error))
    click.echo(f"{what}: key {_id(changed, domain)}, from the gateway's next start on")


def _id(keys: MaskKeys, domain: str | None) -> str:
    return keys.id_of(domain or _ANY)


def _ask(socket: Path, message: dict[str, Any]) -> str:
    try:
        answer = asyncio.run(_request(socket, message))
    except ChannelError as error:
        fail(f"the gateway did not answer: {error}")
    if "refused" in answer:
        fail(f"refused: {answer['message']}")
    return str(answer["id"])


async def _request(socket: Path, message: dict[str, Any]) -> dict[str, Any]:
    channel = await Channel.connect(socket, timeout_s=_TIMEOUT_S)
    try:
        return await channel.request(message, _TIMEOUT_S)
    finally:
        channel.close()
