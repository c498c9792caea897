"""How the command speaks: to people on standard error, to machines on standard output."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from aima_client.errors import ClientError

T = TypeVar("T")


class Exit(IntEnum):
    """Exit statuses."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    SOME_REJECTED = 3


out = Console(highlight=False)
"""What was asked for."""

err = Console(stderr=True, highlight=False)
"""Progress, explanations, problems."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; a problem becomes a sentence and an exit status, never a traceback."""
    try:
        return asyncio.run(work)
    except ClientError as error:
        fail(error)
    except KeyboardInterrupt:
        err.print("[yellow]Stopped.[/] What was uploaded stays; the same command goes on from here.")
        raise typer.Exit(130) from None


def fail(error: ClientError, status: Exit = Exit.FAILURE) -> NoReturn:
    """Say what happened and what to do, and end."""
    complain(str(error), error.remedy)
    raise typer.Exit(int(status)) from error


def complain(what: str, remedy: str = "") -> None:
    """Say what is wrong, and what to do."""
    err.print(f"[bold red]✗[/] {escape(what)}", soft_wrap=True)
    if remedy:
        err.print(f"  [dim]→[/] {escape(remedy)}", soft_wrap=True)


def emit(value: Any) -> None:
    """Write JSON for machines."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()
