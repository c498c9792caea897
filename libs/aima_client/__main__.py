"""`aima`: the command. Lists the commands, and does nothing else."""

from typing import Annotated

import typer

from aima_client.commands import analyze, cases, doctor, up
from aima_client.commands.dead_letters import dead_letters
from aima_client.commands.keys import keys
from aima_client.commands.models import models

HELP = """From files to a dossier that you can read, search and check.

[bold]First steps[/]

  aima demo                          make a small case, and analyse it
  aima analyze FILES --out results   the same for files of your own
  aima up                            run AIMA with its page, until Ctrl-C

Commands find the AIMA that runs here by themselves.
AIMA_URL and AIMA_KEY point them to another one.
"""

app = typer.Typer(
    help=HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False
)
app.command(help=analyze.ANALYZE_HELP, rich_help_panel="From files to a dossier")(analyze.analyze)
app.command(rich_help_panel="From files to a dossier")(analyze.demo)
app.command(help=up.HELP, rich_help_panel="Run AIMA")(up.up)
app.command(rich_help_panel="Run AIMA")(doctor.doctor)
app.add_typer(models, name="models", rich_help_panel="Run AIMA")
app.add_typer(keys, name="keys", rich_help_panel="Run AIMA")
app.add_typer(dead_letters, name="dead-letters", rich_help_panel="Run AIMA")
app.command(rich_help_panel="Work with a running AIMA")(cases.upload)
app.command(rich_help_panel="Work with a running AIMA")(cases.watch)
app.command(rich_help_panel="Work with a running AIMA")(cases.jobs)
app.command(rich_help_panel="Work with a running AIMA")(cases.explain)
app.command(rich_help_panel="Work with a running AIMA")(cases.change)
app.command(rich_help_panel="Work with a running AIMA")(cases.cancel)
app.command(rich_help_panel="Work with a running AIMA")(cases.dossier)
app.command(rich_help_panel="Work with a running AIMA")(cases.search)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        from aima_common import __version__

        print(f"aima {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
