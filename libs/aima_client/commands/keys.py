"""`aima keys`: who may come in."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from aima_client.console import emit, err, out, run

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]

keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, rich_markup_mode="rich")


@keys.command()
def create(
    role: Annotated[str, typer.Option(help="reader, writer, admin or operator.")] = "writer",
    tenant: Annotated[str | None, typer.Option(help="Whose data the key opens. (default: yours)")] = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Make a key; it is shown this once and kept nowhere.

    Example: aima keys create --tenant press --role reader
    """
    from aima_client.client import Client

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await aima.create_key(role, tenant=tenant, name=name)

    made = run(work())
    if as_json:
        emit(made)
        return
    out.print(made["token"], soft_wrap=True)
    err.print(f"[dim]{made['role']} of tenant {escape(made['tenant'])}, id {made['id']}. It is not shown again.[/]")


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """List keys, without their secrets."""
    from rich.table import Table

    from aima_client.client import Client

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await aima.keys()

    found = run(work())
    if as_json:
        emit(found)
        return
    table = Table(box=None)
    for column in ("id", "tenant", "role", "state", "name", "created"):
        table.add_column(column)
    for key in found["keys"]:
        cells = (key["id"], key["tenant"], key["role"], key["state"], key["name"], key["created_at"][:19])
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)


@keys.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id, as `aima keys list` shows it.")]) -> None:
    """Make a key worthless at once."""
    from aima_client.client import Client

    async def work() -> None:
        async with Client.from_environment() as aima:
            await aima.revoke_key(key)

    run(work())
    out.print(f"{key} is revoked")
