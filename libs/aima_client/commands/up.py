"""`aima up`: every service in one process, until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from aima_client.console import Exit, emit, err, fail, out
from aima_client.errors import ClientError

HELP = """Run AIMA here: every service, no server needed.

Prints the address and a key; other `aima` commands of yours find both by themselves.
Ctrl-C stops it; what was accepted is safe and goes on at the next start.

[bold]Examples[/]

  aima up
  aima up --data /srv/aima --port 8700
"""


def up(
    data: Annotated[Path | None, typer.Option(help="Folder for everything. (default: your data folder)")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reachable from here alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8700,
    as_json: Annotated[bool, typer.Option("--json", help="Print address and key as JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """See HELP."""
    from aima_client import embedded, state

    place = data or embedded.default_data()
    if (running := state.locate(place)) is not None:
        fail(
            ClientError(f"AIMA runs on {place} already, at {running.url}", remedy="Use it, or stop it first."),
            Exit.USAGE,
        )
    try:
        with embedded.started(place, ["--host", host, "--port", str(port)]) as (instance, process):
            if as_json:
                emit({"url": instance.url, "key": instance.key, "pid": instance.pid, "data": instance.data})
            else:
                _greet(instance.url, instance.key, place)
            try:
                status = process.wait()
            except KeyboardInterrupt:
                err.print("stopping …")
                return
    except ClientError as error:
        fail(error)
    except OSError as error:
        fail(ClientError(f"{place} cannot be used: {error.strerror}", remedy="Choose another --data."), Exit.USAGE)
    if status:
        fail(ClientError(f"AIMA ended with status {status}", remedy=f"See {place / embedded.LOG_NAME}."))


def _greet(url: str, key: str, place: Path) -> None:
    out.print("[bold green]AIMA is up[/]\n")
    out.print(f"  page  [link={url}/]{url}/[/link]")
    out.print(f"  key   {key}", soft_wrap=True)
    out.print(f"  data  {place}\n", soft_wrap=True)
    out.print("[dim]Try `aima analyze FILES --out results` in another terminal. Ctrl-C stops AIMA.[/]")
