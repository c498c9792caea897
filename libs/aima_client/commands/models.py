"""`aima models`: the models of this machine, made from pinned archives."""

from typing import Annotated

import typer
from rich.markup import escape

from aima_client.console import Exit, emit, err, fail, out
from aima_client.errors import ClientError

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]

models = typer.Typer(help="List, build and verify the models.", no_args_is_help=True, rich_markup_mode="rich")


@models.command("list")
def list_models(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """List the models: version, licence, and whether they are here."""
    from rich.table import Table

    from aima_models.store import ModelStore

    store = ModelStore()
    missing = set(store.missing())
    found = [
        {"name": name, "version": manifest.version, "licence": manifest.licence, "installed": name not in missing}
        for name, manifest in store.manifests.items()
    ]
    if as_json:
        emit({"folder": str(store.root), "models": found})
        return
    table = Table(box=None)
    for column in ("model", "version", "licence", "here"):
        table.add_column(column)
    for model in found:
        here = "[green]yes[/]" if model["installed"] else "[yellow]no[/]"
        table.add_row(escape(str(model["name"])), escape(str(model["version"])), escape(str(model["licence"])), here)
    out.print(table)
    if missing:
        err.print("[dim]Make the missing ones with `aima models build`.[/]")


@models.command()
def build() -> None:
    """Make the models from pinned archives: resumable, and refusing any file with a wrong hash."""
    made, kept = _build()
    out.print(f"{made} models made, {kept} were here already")


@models.command()
def verify(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Hash every model's files again."""
    from aima_models.pack import verify as check
    from aima_models.store import ModelStore

    found = check(ModelStore())
    if as_json:
        emit([{"name": one.name, "verdict": one.verdict, "detail": one.detail, "remedy": one.remedy} for one in found])
    else:
        for one in found:
            mark = "[green]✓[/]" if one.verdict == "right" else "[red]✗[/]"
            advice = "" if one.verdict == "right" else f"  [dim]{escape(one.remedy)}[/]"
            out.print(f"{mark} {escape(one.name)}  {escape(one.detail)}{advice}", soft_wrap=True)
    if any(one.verdict != "right" for one in found):
        raise typer.Exit(int(Exit.FAILURE))


def ensure_models() -> None:
    """Make the models that are missing, with progress; say nothing when all are here."""
    from aima_models.store import ModelStore

    if ModelStore().missing():
        _build()
    err.print("[green]✓[/] models")


def _build() -> tuple[int, int]:
    from aima_client.progress_view import steps
    from aima_common.errors import AimaError
    from aima_models.pack import build as make

    verbs = {"download": "download", "convert": "make", "verify": "check", "done": "make"}
    try:
        with steps(err) as show:
            report = make(progress=lambda name, phase, done, total: show(f"{verbs[phase]} {name}", done, total))
    except AimaError as error:
        fail(ClientError(str(error), remedy=getattr(error, "remedy", "") or "Run `aima models build` again."))
    return len(report.made), len(report.kept)
