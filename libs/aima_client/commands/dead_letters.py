"""`aima dead-letters`: what could not be handled, and what becomes of it."""

import base64
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from aima_client.console import Exit, complain, emit, out, run
from aima_client.errors import ProblemError

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Letters = Annotated[list[str], typer.Argument(help="Ids, as `aima dead-letters list` shows them.")]

PREVIEW_BYTES = 2000

dead_letters = typer.Typer(
    help="Look at messages and media that were set aside, try them again, put them away. Needs a key of an operator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@dead_letters.command("list")
def list_letters(
    state: Annotated[str, typer.Option(help="open, retried, discarded, or all.")] = "open",
    reason: Annotated[str | None, typer.Option(help="Only letters with this reason.")] = None,
    service: Annotated[str | None, typer.Option(help="Only what this service set aside.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List what was set aside, newest first.

    Example: aima dead-letters list --reason malformed_message
    """
    from aima_client.client import Client

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            chosen = None if state == "all" else state
            return await aima.dead_letters(state=chosen, reason=reason, service=service, limit=limit)

    found = run(work())
    if as_json:
        emit(found)
    elif found["dead_letters"]:
        _draw(found["dead_letters"])
    else:
        out.print("there are none" if state == "all" else f"none is {escape(state)}")


@dead_letters.command()
def show(
    letter: Annotated[str, typer.Argument(help="A letter's id.")],
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show one letter with its headers and its bytes, as far as they were kept."""
    from aima_client.client import Client

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await aima.dead_letter(letter)

    found = run(work())
    if as_json:
        emit(found)
        return
    for name, value in found.items():
        if name not in {"value", "headers"} and value not in (None, ""):
            out.print(f"{name:10} {escape(str(value))}", soft_wrap=True)
    for name, value in found["headers"].items():
        out.print(f"header     {escape(name)}: {escape(value)}", soft_wrap=True)
    if found["value"]:
        data = base64.b64decode(found["value"])
        # Bytes of a stranger: shown as what Python writes for them, so that none of them moves the cursor.
        out.print(f"bytes      {escape(repr(data[:PREVIEW_BYTES])[2:-1])}", soft_wrap=True)


@dead_letters.command()
def retry(letters: Letters, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Try letters again: say the message once more, or prepare the medium once more.

    Example: aima dead-letters retry 3f0c…
    """
    _close(letters, None, as_json=as_json)


@dead_letters.command()
def discard(
    letters: Letters,
    reason: Annotated[str, typer.Option(help="Kept with the letter.")] = "",
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Put letters away; they stay readable.

    Example: aima dead-letters discard 3f0c… --reason "the camera was replaced"
    """
    _close(letters, reason, as_json=as_json)


def _close(letters: list[str], reason: str | None, *, as_json: bool) -> None:
    """Try letters again, or put them away where a reason is given; one that cannot be does not stop the others."""
    from aima_client.client import Client

    async def work() -> tuple[list[Mapping[str, Any]], list[tuple[str, ProblemError]]]:
        done, refused = list[Mapping[str, Any]](), list[tuple[str, ProblemError]]()
        async with Client.from_environment() as aima:
            for letter in letters:
                try:
                    if reason is None:
                        done.append(await aima.retry_dead_letter(letter))
                    else:
                        done.append(await aima.discard_dead_letter(letter, reason))
                except ProblemError as problem:
                    refused.append((letter, problem))
        return done, refused

    done, refused = run(work())
    if as_json:
        emit({"dead_letters": done, "refused": [{"id": letter, **problem.problem} for letter, problem in refused]})
    for letter in done if not as_json else ():
        out.print(f"{letter['id']} is {letter['state']}")
    for name, problem in refused:
        complain(f"{name}: {problem}", problem.remedy)
    raise typer.Exit(int(Exit.FAILURE if refused else Exit.DONE))


def _draw(found: list[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None)
    for column in ("id", "state", "set aside", "by", "reason", "where", "detail"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for letter in found:
        where = f"{letter['topic']}/{letter['partition']}/{letter['offset']}" if letter["topic"] else letter["medium"]
        cells = (letter["id"], letter["state"], letter["at"][:19], letter["service"], letter["reason"])
        table.add_row(*(escape(str(cell)) for cell in (*cells, where, letter["detail"][:200])))
    out.print(table)
