"""`aima upload`, `watch`, `jobs`, `change`, `cancel`, `dossier`, `search`: work with an AIMA that runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aima_client.choices import (
    NOTHING,
    ConfidentialityOption,
    DeadlineOption,
    PriorityOption,
    ProfileOption,
    choose,
)
from aima_client.console import Exit, complain, emit, err, out, run

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
CaseArgument = Annotated[str, typer.Argument(help="A case's name or id.")]


def upload(
    paths: Annotated[list[Path], typer.Argument(readable=False, help="Files and folders.")],
    case: Annotated[str, typer.Option(help="Name or id of the case; made when there is none.")],
    priority: PriorityOption = None,
    deadline: DeadlineOption = None,
    confidentiality: ConfidentialityOption = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Hand files over to a running AIMA without waiting for their analysis.

    Content that is there already is not sent again.

    Example: aima upload film.mp4 --case "Case 12" --priority batch
    """
    from aima_client import inputs
    from aima_client.analysis import announce, hand_over
    from aima_client.client import Client

    choices = choose(priority, deadline, confidentiality, profile)
    found = inputs.collect(paths)
    announce(found, err)
    if not found.files:
        complain("there is nothing to upload", "Name files, or folders with files in them.")
        raise typer.Exit(int(Exit.USAGE))

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await hand_over(aima, case, found, err, choices)

    done = run(work())
    if as_json:
        emit(done)
    else:
        out.print(
            f"{done['media']} media in case [bold]{escape(done['case']['name'])}[/]: aima watch {done['case']['id']}"
        )
    raise typer.Exit(int(Exit.SOME_REJECTED if found.refused else Exit.DONE))


def watch(case: CaseArgument, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Follow a case until it is finished: every medium's stage, and the time left.

    With --json every change is one line of JSON.
    """
    from aima_client.client import Client
    from aima_client.progress_view import CaseProgress

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            found = await aima.find_case(case)
            with CaseProgress(err) as progress:
                async for shown in aima.watch(found["id"]):
                    found = shown
                    if as_json:
                        print(_line(shown), flush=True)
                    else:
                        progress.show(shown)
            return found

    ended = run(work())
    counts = ended["counts"]
    if not as_json:
        words = ", ".join(f"{count} {word}" for word, count in counts.items() if count and word != "items")
        out.print(f"[bold]{escape(ended['name'])}[/]: {words}")
    raise typer.Exit(int(Exit.FAILURE if counts["failed"] else Exit.SOME_REJECTED if counts["rejected"] else Exit.DONE))


def jobs(
    case: Annotated[str | None, typer.Option(help="Only jobs of this case (name or id).")] = None,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state, for instance ready or dead.")] = None,
    explain: Annotated[str | None, typer.Option(help="Tell what one job (id) waits for.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    live: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--watch", help="Show queue, machines and reservations, drawn anew every second.")
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List jobs, newest first, explain why one is not done yet, or watch the queue and the machines.

    --watch ends with Ctrl-C; where its output is no terminal, or with --json, it shows one picture and ends.

    Examples: aima jobs --state dead    aima jobs --explain 3f0c…    aima jobs --watch
    """
    from aima_client.client import Client

    if live:
        if case or state or explain:
            raise typer.BadParameter("--watch shows the whole queue: leave out --case, --state and --explain.")
        _watch_queue(as_json)
        return

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            if explain:
                return await aima.explain(explain)
            chosen = (await aima.find_case(case))["id"] if case else None
            return await aima.jobs(case=chosen, state=state, limit=limit)

    found = run(work())
    if as_json:
        emit(found)
    elif explain:
        _draw_explanation(found)
    else:
        _draw_jobs(found["jobs"])


def explain(
    job: Annotated[str, typer.Argument(help="A job's id, as `aima jobs` lists it.")],
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Tell why a job waits, what would help, when it starts, if it meets its deadline; or why it went where it went.

    Example: aima explain 3f0c…
    """
    from aima_client.client import Client

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await aima.explain(job)

    found = run(work())
    if as_json:
        emit(found)
    else:
        _draw_explanation(found)


def change(
    case: CaseArgument,
    priority: PriorityOption = None,
    deadline: DeadlineOption = None,
    confidentiality: ConfidentialityOption = None,
) -> None:
    """Make a case more or less urgent, or confidential; what waits takes its place anew.

    Examples: aima change "Case 12" --priority critical    aima change "Case 12" --deadline 3h
    """
    from aima_client.client import Client

    choices = choose(priority, deadline, confidentiality)
    if choices == NOTHING:
        raise typer.BadParameter("name what to change: --priority, --deadline or --confidentiality.")

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await aima.change_case((await aima.find_case(case))["id"], **choices.given())

    changed = run(work())
    told = {name: value for name, value in changed["options"].items() if value is not None}
    out.print(f"[bold]{escape(changed['name'])}[/]: {', '.join(f'{name} {value}' for name, value in told.items())}")


def cancel(
    case: Annotated[str | None, typer.Argument(help="A case's name or id.")] = None,
    job: Annotated[str | None, typer.Option(help="Stop the work on this job's medium instead.")] = None,
    reason: Annotated[str, typer.Option(help="Kept with what is stopped.")] = "",
) -> None:
    """Stop the work on a case, or on one job's medium. What was found stays.

    Examples: aima cancel "Case 12"    aima cancel --job 3f0c…
    """
    from aima_client.client import Client

    if (case is None) == (job is None):
        raise typer.BadParameter("name either a case or a --job.")

    async def work() -> None:
        async with Client.from_environment() as aima:
            if job is not None:
                await aima.cancel_job(job, reason)
            else:
                await aima.cancel_case((await aima.find_case(str(case)))["id"], reason)

    run(work())
    out.print("cancelled; what runs stops within seconds")


def dossier(
    case: CaseArgument,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write dossier.json and dossier.html there.")
    ] = None,
    link: Annotated[bool, typer.Option(help="Print a link that works for five minutes.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Fetch a case's current dossier: to a folder, as a link, or as JSON on standard output.

    Examples: aima dossier "Case 12" --out results    aima dossier "Case 12" --link
    """
    from aima_client.analysis import keep
    from aima_client.client import Client

    async def work() -> None:
        async with Client.from_environment() as aima:
            found = (await aima.find_case(case))["id"]
            if folder is not None:
                await keep(aima, found, folder)
                out.print(str(folder / "dossier.html"), soft_wrap=True)
            if link:
                out.print(await aima.dossier_link(found), soft_wrap=True)
            if folder is None and not link:
                emit(await aima.dossier(found))

    run(work())


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    mode: Annotated[str, typer.Option(help="words, meaning or both.")] = "both",
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Search everything that was said, shown and seen.

    Example: aima search "the best of times"
    """
    from aima_client.client import Client

    async def work() -> Mapping[str, Any]:
        async with Client.from_environment() as aima:
            return await aima.search(query, mode=mode, limit=limit)

    found = run(work())
    if as_json:
        emit(found)
        return
    for missing in found["missing"]:
        err.print(f"[yellow]![/] {escape(missing)}")
    for hit in found["hits"]:
        names = ", ".join(sorted({item["file_name"] for item in hit["items"]}))
        out.print(
            f"[cyan]{_time(hit['start_seconds'])}[/]  {escape(names)}  [dim]{hit['kind']}[/]  {escape(hit['text'])}"
        )
    if not found["hits"]:
        out.print("nothing was found")


def _watch_queue(as_json: bool) -> None:  # noqa: FBT001 - a flag
    import asyncio
    import contextlib

    from aima_client import queue_view
    from aima_client.client import Client

    async def work() -> None:
        # Ctrl-C is how one ends it, and no failure.
        with contextlib.suppress(asyncio.CancelledError):
            # A picture is asked for every second anyway: nothing is gained by insisting on one of them.
            async with Client.from_environment(attempts=1) as aima:
                if as_json:
                    emit(await aima.queue(limit=100))
                else:
                    await queue_view.follow(lambda: aima.queue(limit=queue_view.QUEUE_ROWS), out)

    run(work())


def _draw_jobs(found: list[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None)
    for name in ("job", "kind", "analyzer", "segment", "state", "tries", "last error"):
        table.add_column(name, overflow="fold", no_wrap=name == "job")
    for job in found:
        last = job["errors"][-1]["reason"] if job["errors"] else ""
        segment = "" if job["segment"] is None else str(job["segment"])
        table.add_row(
            job["id"], job["kind"], job["analyzer"] or "", segment, job["state"], str(job["attempts"]), escape(last)
        )
    out.print(table)


def _draw_explanation(found: Mapping[str, Any]) -> None:
    out.print(f"state     {found['state']}")
    if found["state"] == "ready":
        out.print(f"position  {'not known' if found['position'] is None else found['position']}")
    if found["estimated_start_seconds"] is not None:
        out.print(f"starts in about {found['estimated_start_seconds']:.0f} s")
    if found["start_interval_seconds"] is not None:
        low, high = found["start_interval_seconds"]
        out.print(f"          four times in five between {low:.0f} and {high:.0f} s from now")
    if outlook := found.get("deadline_outlook"):  # a gateway of an earlier version says nothing of it
        out.print(f"deadline  {escape(outlook)}")
    for reason in found["blocked_by"]:
        out.print(f"because   {escape(reason)}")
    for remedy in found["would_help"]:
        out.print(f"helps     {escape(remedy)}")
    if found["placed_because"]:
        out.print(f"placed    {escape(found['placed_because'])}")


def _line(case: Mapping[str, Any]) -> str:
    import json

    return json.dumps(case, separators=(",", ":"))


def _time(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
