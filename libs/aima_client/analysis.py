"""From paths to a dossier in a folder: what `aima analyze` and `aima demo` do."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from aima_client import inputs, sending
from aima_client.choices import NOTHING, Choices
from aima_client.client import Client
from aima_client.errors import ClientError, MissingError, ProblemError
from aima_client.inputs import Inputs, Refusal
from aima_client.progress_view import CaseProgress, bytes_moving
from aima_client.sending import FileDigest
from aima_client.summary import Outcome

AT_ONCE = 4
"""Uploads side by side: enough to keep a disk or a line busy."""

PATIENCE_SECONDS = 24 * 3600.0
"""How long a file waits when AIMA is behind: work that somebody started in the evening goes on in the morning."""

TOLD_SECONDS = 30.0
"""How often it is said that AIMA asks to wait."""

MARK = ".aima.json"
"""Remembers, in the folder of results, which case they are of, so that a second call goes on with it."""

CALLS = "aima_analyzer_calls_total"


@dataclass(frozen=True)
class Wish:
    """What somebody wants analysed."""

    paths: Sequence[Path]
    folder: Path
    """Where the dossier goes."""
    case: str | None = None
    choices: Choices = NOTHING

    @property
    def name(self) -> str:
        """The case's name: the given one, else that of the first path."""
        if self.case:
            return self.case
        first = inputs.shown(Path(self.paths[0].absolute().name)) or "case"
        more = len(self.paths) - 1
        return f"{first} and {more} more"[:200] if more else first[:200]


async def analyse(aima: Client, wish: Wish, found: Inputs, console: Console) -> Outcome:
    """Send the files, follow their analysis, and write the dossier; raise `ClientError` when that cannot be."""
    with aima.patient(PATIENCE_SECONDS, Waiting(console)):
        return await _analyse(aima, wish, found, console)


async def _analyse(aima: Client, wish: Wish, found: Inputs, console: Console) -> Outcome:
    began = time.monotonic()
    calls_before = calls(await aima.metrics())
    digests = await _read(found, console)
    case = await _case(aima, wish)
    computed_before = await computed(aima, str(case["id"]))
    sent, sizes = await _send(aima, str(case["id"]), digests, found, console)
    if not sizes:
        raise ClientError("none of the files could be sent", remedy="The reasons are above.")
    with CaseProgress(console, sizes) as progress:
        async for shown in aima.watch(str(case["id"])):
            progress.show(shown)
    await _warn_of_cancelled(aima, str(case["id"]))
    dossier = await keep(aima, str(case["id"]), wish.folder)
    # One process counts its own calls; in a cluster each does, and what was computed stands in the case's events.
    made = calls(await aima.metrics()) - calls_before or await computed(aima, str(case["id"])) - computed_before
    return Outcome(dossier, found.refused, max(0, made), time.monotonic() - began, wish.folder, sent)


async def hand_over(
    aima: Client, wanted: str, found: Inputs, console: Console, choices: Choices = NOTHING
) -> Mapping[str, Any]:
    """Send files to the case of this name or id, made when there is none, and leave the rest to AIMA."""
    digests = await _read(found, console)
    try:
        case = await aima.find_case(wanted)
        await _change(aima, case, choices)
    except MissingError:
        case = await aima.create_case(wanted, **choices.given())
    with aima.patient(PATIENCE_SECONDS, Waiting(console)):
        sent, sizes = await _send(aima, str(case["id"]), digests, found, console)
    announce(found, console)
    shown = {"id": case["id"], "name": case["name"]}
    return {"case": shown, "media": len(sizes), "sent_bytes": sent, "refused": [asdict(one) for one in found.refused]}


def calls(metrics: str) -> int:
    """Count the calls of analyzers in Prometheus' text form."""
    lines = [line for line in metrics.splitlines() if line.startswith(CALLS)]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


async def computed(aima: Client, case: str) -> int:
    """Count the results in a case's story that an analyzer was called for; the others were known."""
    return sum([bool(event.data.get("computed")) async for event in aima.events(case, follow=False)])


async def _read(found: Inputs, console: Console) -> dict[Path, FileDigest]:
    digests: dict[Path, FileDigest] = {}
    what = f"read {len(found.files)} {'file' if len(found.files) == 1 else 'files'}"
    with bytes_moving(console, what, found.total_bytes) as moved:
        for path in found.files:
            try:
                digests[path] = await sending.digest(path, moved)
            except OSError as error:
                found.refused.append(Refusal(inputs.shown(path), str(error.strerror).lower(), "Allow reading it."))
    return digests


async def _case(aima: Client, wish: Wish) -> Mapping[str, Any]:
    """Go on with the case of this name, or of this folder of results; else make one."""
    existing = await _existing(aima, wish)
    if existing is not None and existing["state"] == "open":
        case = existing
        await _change(aima, case, wish.choices)
    else:
        case = await aima.create_case(wish.name, **wish.choices.given())
    mark = {"case": case["id"], "name": case["name"]}
    _write(wish.folder / MARK, json.dumps(mark).encode())
    return case


async def _change(aima: Client, case: Mapping[str, Any], choices: Choices) -> None:
    if changes := choices.changes(case["options"]):
        await aima.change_case(str(case["id"]), **changes)


async def _existing(aima: Client, wish: Wish) -> Mapping[str, Any] | None:
    try:
        if wish.case:
            return await aima.find_case(wish.case)
        mark = json.loads((wish.folder / MARK).read_text(encoding="utf-8"))
        return await aima.case(str(mark["case"]))
    except (MissingError, OSError, ValueError, KeyError, TypeError):
        return None


async def _send(
    aima: Client, case: str, digests: Mapping[Path, FileDigest], found: Inputs, console: Console
) -> tuple[int, dict[str, int]]:
    """Send what AIMA lacks; return how many bytes were sent, and the sizes of the media."""
    room = asyncio.Semaphore(AT_ONCE)
    sent = 0
    sizes: dict[str, int] = {}

    async def send(path: Path, content: FileDigest, moved: sending.Moved) -> None:
        nonlocal sent
        here = 0

        def count(number: int) -> None:
            nonlocal here
            here += number
            moved(number)

        async with room:
            try:
                item = await aima.upload(case, path, content=content, moved=count)
            except (ProblemError, OSError) as error:
                found.refused.append(_refusal(path, error))
            else:
                sizes[str(item["medium"])] = content.size_bytes
            moved(max(0, content.size_bytes - here))
            sent += here

    total = sum(content.size_bytes for content in digests.values())
    with bytes_moving(console, f"hand over {len(digests)} {'file' if len(digests) == 1 else 'files'}", total) as moved:
        await asyncio.gather(*(send(path, content, moved) for path, content in digests.items()))
    return sent, sizes


async def _warn_of_cancelled(aima: Client, case: str) -> None:
    if (await aima.case(case))["state"] == "cancelled":
        raise ClientError("the case was cancelled by somebody", remedy="Run the command again for a new case.")


async def keep(aima: Client, case: str, folder: Path) -> Mapping[str, Any]:
    """Write a case's current dossier to a folder; return it."""
    raw, page = await aima.dossier_bytes(case), await aima.dossier_page(case)
    _write(folder / "dossier.json", raw)
    _write(folder / "dossier.html", page)
    return dict(json.loads(raw))


def _write(path: Path, data: bytes) -> None:
    """Put a file in place whole; raise `ClientError` when that cannot be."""
    draft = path.with_name(path.name + ".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        raise ClientError(
            f"{inputs.shown(path)} cannot be written: {str(error.strerror).lower()}", remedy="Choose another --out."
        ) from error


class Waiting:
    """Says now and then that AIMA asks to wait, and why: four files side by side wait for one reason."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_at = float("-inf")

    def __call__(self, seconds: float, problem: ProblemError) -> None:
        now = time.monotonic()
        if now - self._told_at < TOLD_SECONDS:
            return
        self._told_at = now
        why = problem.problem.get("detail") or str(problem)
        self._console.print(f"[yellow]…[/] AIMA asks to wait {seconds:.0f} s: {escape(str(why))}", soft_wrap=True)


def _refusal(path: Path, error: ProblemError | OSError) -> Refusal:
    if isinstance(error, ProblemError):
        return Refusal(inputs.shown(path), str(error), error.remedy)
    return Refusal(inputs.shown(path), str(error.strerror or error).lower(), "Check the file, then run this again.")


def announce(found: Inputs, console: Console) -> None:
    """Say which paths cannot be sent, before the others are."""
    for one in found.refused:
        console.print(
            f"[yellow]![/] {escape(one.path)}: {escape(one.reason)}  [dim]{escape(one.remedy)}[/]", soft_wrap=True
        )
