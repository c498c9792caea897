"""Progress as people see it: bytes read and sent, then every medium's stages, with the time left."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from aima_client import estimate
from aima_client.summary import printable

MOST_BARS = 12
"""Media shown at once; the ones under way come first."""

NAME_WIDTH = 32

WORDS = {
    "accepted": "waiting",
    "preparing": "preparing",
    "analysing": "analysing",
    "fusing": "putting together",
    "analysed": "done",
    "rejected": "rejected",
    "failed": "failed",
    "cancelled": "cancelled",
    "erased": "erased",
}
LINE_SECONDS = 5.0
"""Without a terminal a line of progress is written this often."""


@contextlib.contextmanager
def bytes_moving(console: Console, what: str, total: int) -> Iterator[Any]:
    """Show bytes being read or sent; yield what is called with their number."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total or None)
        yield lambda count: progress.advance(task, count)
    console.print(f"[green]✓[/] {what}")


class CaseProgress:
    """Shows a case again and again until it is finished."""

    def __init__(self, console: Console, sizes: Mapping[str, int] | None = None) -> None:
        self._console = console
        self._sizes = sizes or {}
        columns = (
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._whole: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._remaining = estimate.Remaining()
        self._spoke = float("-inf")

    def __enter__(self) -> Self:
        self._progress.start()
        self._whole = self._progress.add_task("[bold]all media[/]", total=1.0, note="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, case: Mapping[str, Any]) -> None:
        """Show a case as it is now."""
        now = time.monotonic()
        shares = {m["medium"]: estimate.share(m, self._sizes.get(m["medium"], 0)) for m in case["media"]}
        fraction = estimate.overall(shares.values())
        left = self._remaining.seconds(shares, now)
        ended = sum(m["stage"] in estimate.ENDS for m in case["media"])
        note = f"{ended} of {len(case['media'])} media"
        if ended < len(case["media"]):
            note += f" · {estimate.left(left)}"
        if self._console.is_terminal and self._whole is not None:
            self._progress.update(self._whole, completed=fraction, note=note)
            self._draw_media(case, shares)
        elif now - self._spoke >= LINE_SECONDS:
            self._spoke = now
            self._console.print(f"  {fraction:4.0%}  {note}", soft_wrap=True)

    def _draw_media(self, case: Mapping[str, Any], shares: Mapping[str, estimate.Share]) -> None:
        open_media = [m for m in case["media"] if m["stage"] not in estimate.ENDS]
        open_media.sort(key=lambda m: m["stage"] == "accepted")
        visible = {m["medium"]: m for m in open_media[:MOST_BARS]}
        for medium in [medium for medium in self._bars if medium not in visible]:
            self._progress.remove_task(self._bars.pop(medium))
        for medium, shown in visible.items():
            if medium not in self._bars:
                self._bars[medium] = self._progress.add_task(_name(shown["file_name"]), total=1.0, note="")
            self._progress.update(self._bars[medium], completed=shares[medium].fraction, note=_stage(shown))


@contextlib.contextmanager
def steps(console: Console) -> Iterator[Any]:
    """Show named steps with a count each; yield what is called with (step, done, total)."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        known: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in known:
                known[step] = progress.add_task(escape(step), total=total or None)
                if not console.is_terminal:
                    console.print(f"  {escape(step)}")
            progress.update(known[step], completed=done, total=total or None)

        yield show


def _stage(medium: Mapping[str, Any]) -> str:
    word = WORDS.get(medium["stage"], str(medium["stage"]))
    if medium["stage"] == "analysing" and medium["parts_total"]:
        return f"{word} {medium['parts_done']}/{medium['parts_total']}"
    if medium["stage"] == "preparing" and medium["duration_seconds"]:
        return f"{word} {medium['prepared_seconds']:.0f}/{medium['duration_seconds']:.0f} s"
    return word


def _name(text: str) -> str:
    name = printable(text)
    return escape(name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…")
