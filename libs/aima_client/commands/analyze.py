"""`aima analyze` and `aima demo`: from files to a dossier."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aima_client.choices import ConfidentialityOption, DeadlineOption, PriorityOption, ProfileOption, choose
from aima_client.console import Exit, complain, emit, err, fail, out, run
from aima_client.errors import ClientError

if TYPE_CHECKING:
    from aima_client.analysis import Wish

ANALYZE_HELP = """Analyse files and folders, and write a dossier about them.

Uses the AIMA that runs here, or starts one for as long as this takes.
Run it again, and it goes on where it stopped: nothing is sent or analysed twice.
A file that cannot be used is named with the reason; the others go on.

[bold]Examples[/]

  aima analyze holiday/ --out results
  aima analyze film.mp4 interview.wav --out results --case "Case 12" --priority high --deadline 2h
  aima analyze evidence/ --out results --json > summary.json

[bold]Exit status[/]

  0  everything was analysed
  3  finished, some inputs were rejected
  2  wrong usage
  1  failure
"""

Paths = Annotated[
    # One that cannot be read is named later, with the reason; the others go on.
    list[Path], typer.Argument(readable=False, help="Files and folders. Hidden files in folders are left out.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for dossier.json and dossier.html.")]
Case = Annotated[str | None, typer.Option(help="Name of the case. An open case of this name is gone on with.")]
Data = Annotated[Path | None, typer.Option(help="Folder where AIMA keeps everything. (default: your data folder)")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the summary as JSON to standard output.")]


def analyze(  # noqa: PLR0913, PLR0917 - the options of a command
    paths: Paths,
    folder: Out,
    case: Case = None,
    data: Data = None,
    priority: PriorityOption = None,
    deadline: DeadlineOption = None,
    confidentiality: ConfidentialityOption = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """See ANALYZE_HELP."""
    from aima_client.analysis import Wish

    choices = choose(priority, deadline, confidentiality, profile)
    raise typer.Exit(int(_analyze(Wish(paths, folder, case, choices), data, as_json=as_json)))


def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the media, the data and the dossier.")] = Path(
        "demo"
    ),
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Make a small case of real photos, recordings and a film, and analyse it.

    Afterwards open demo/dossier.html. Run it again: nothing is analysed twice. Put a photo of your own into
    demo/media and run it once more: that photo alone is analysed.
    """
    from aima_client.analysis import Wish
    from aima_client.commands.models import ensure_models
    from aima_client.progress_view import steps
    from aima_common.errors import AimaError
    from aima_demo import make_demo_case

    try:
        ensure_models()
        with steps(err) as show:
            made = make_demo_case(folder, show)
    except AimaError as error:
        fail(ClientError(str(error), remedy=getattr(error, "remedy", "")))
    err.print(f"[green]✓[/] demo case of {len(made.files)} files in {made.media_folder}")
    wish = Wish([made.media_folder], folder, "The AIMA demo case")
    status = _analyze(wish, folder / "data", as_json=as_json)
    # Some of its files are broken on purpose.
    raise typer.Exit(int(Exit.DONE if status is Exit.SOME_REJECTED else status))


def _analyze(wish: "Wish", data: Path | None, *, as_json: bool) -> Exit:
    from aima_client import inputs, summary
    from aima_client.analysis import analyse, announce
    from aima_client.client import Client
    from aima_client.embedded import default_data

    results = (wish.folder / name for name in ("dossier.json", "dossier.html"))
    named = {path.resolve() for path in wish.paths}
    own = [path for path in (wish.folder, data or default_data()) if path.resolve() not in named]
    found = inputs.collect(wish.paths, [*own, *results])
    announce(found, err)
    if not found.files:
        complain("there is nothing to analyse", "Name files, or folders with files in them.")
        return Exit.USAGE
    _prepare(wish.folder)
    with _aima(data) as (url, key):

        async def work() -> summary.Outcome:
            async with Client(url, key) as aima:
                return await analyse(aima, wish, found, err)

        outcome = run(work())
    if as_json:
        emit(outcome.body())
    else:
        summary.draw(outcome, out)
    if outcome.broken:
        return Exit.FAILURE
    return Exit.SOME_REJECTED if outcome.rejected or outcome.refused else Exit.DONE


def _prepare(folder: Path) -> None:
    """Make the folder of results before any work is done for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fail(ClientError(f"{folder} cannot be written to: {reason}", remedy="Choose another --out."), Exit.USAGE)


@contextlib.contextmanager
def _aima(data: Path | None) -> Iterator[tuple[str, str]]:
    """Use the AIMA that runs (on this folder), or run one meanwhile."""
    from aima_client import embedded, state

    if data is None and (url := os.environ.get("AIMA_URL")):
        yield url, os.environ.get("AIMA_KEY", "")
        return
    running = state.locate(data)
    if running is not None:
        err.print(f"[green]✓[/] using the AIMA at {running.url}")
        yield running.url, running.key
        return
    place = data or embedded.default_data()
    with contextlib.ExitStack() as stack:
        try:
            err.print("  starting AIMA …")
            instance, _ = stack.enter_context(embedded.started(place))
        except ClientError as error:
            fail(error)
        except OSError as error:
            fail(ClientError(f"{place} cannot be used: {error.strerror}", remedy="Choose another --data."), Exit.USAGE)
        err.print("[green]✓[/] AIMA started")
        yield instance.url, instance.key
