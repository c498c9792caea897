"""The queue, the machines and the starts that are kept free, as a picture in the terminal, drawn every second."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aima_client import estimate
from aima_client.errors import BusyError, NotRunningError
from aima_client.summary import printable

REDRAW_SECONDS = 1.0

QUEUE_ROWS = 12
"""Waiting jobs shown at once: those that come first."""

MACHINE_ROWS = 10
"""Machines shown at once: those of which most is used."""

BAR_WIDTH = 8

GIB = 1 << 30

Ask = Callable[[], Awaitable[Mapping[str, Any]]]
"""Asks AIMA for the queue as it is now."""


async def follow(ask: Ask, console: Console) -> None:
    """Draw the queue every second until cancelled; once where nobody watches, because it is no terminal.

    What goes wrong at the first time is raised; later the last picture stays, with what is wrong below it.
    """
    shown = await ask()
    if not console.is_terminal:
        console.print(picture(shown))
        return
    with Live(picture(shown), console=console, auto_refresh=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(REDRAW_SECONDS)
            trouble = ""
            try:
                shown = await ask()
            except (BusyError, NotRunningError) as error:
                trouble = str(error)
            live.update(picture(shown, trouble))


def picture(queue: Mapping[str, Any], trouble: str = "") -> RenderableType:
    """Draw a queue as it was answered; `trouble` says why it is not the newest."""
    parts: list[RenderableType] = [
        Panel(_waiting(queue), title="queue", title_align="left", subtitle=_counts(queue["counts"])),
        Panel(_machines(queue), title="machines", title_align="left"),
        Panel(_reservations(queue), title="kept free", title_align="left"),
    ]
    if trouble:
        parts.append(Text(f"{trouble}; this is the last picture, and it is asked for again", style="yellow"))
    return Group(*parts)


def _waiting(queue: Mapping[str, Any]) -> RenderableType:
    jobs = queue["waiting"][:QUEUE_ROWS]
    if not jobs:
        return Text("no job of yours waits for a machine", style="dim")
    table = Table(box=None, expand=True)
    for name in ("place", "class", "analyzer", "waits", "starts in"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"place", "waits", "starts in"} else "left")
    table.add_column("job", no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        start = job["estimated_start_seconds"]
        table.add_row(
            "" if job["position"] is None else str(job["position"]),
            Text(job["priority"], style=_style(job["priority"])),
            Text(printable(job["analyzer"] or "")),
            estimate.clock(job["waited_seconds"]),
            "?" if start is None else f"~ {estimate.clock(start)}",
            Text(job["job"], style="dim"),
        )
    return table


def _machines(queue: Mapping[str, Any]) -> RenderableType:
    machines = queue["machines"]
    if not machines:
        silent = "the scheduler does not answer: machines and starts are unknown for now"
        return Text("there is no machine", style="yellow") if queue["scheduler"] else Text(silent, style="yellow")
    # Narrow enough for 80 columns: a machine without its name would tell nothing.
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0))
    table.add_column("machine", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
    for name in ("cores", "", "memory", "", "GPUs", ""):
        table.add_column(name, no_wrap=True)
    table.add_column("your jobs", no_wrap=True, justify="right")
    shown = sorted(machines, key=lambda machine: (-_fullest(machine), machine["id"]))[:MACHINE_ROWS]
    for machine in shown:
        table.add_row(Text(printable(machine["id"])), *_bars(machine), _yours(machine))
    if len(machines) > len(shown):
        table.add_row(Text(f"and {len(machines) - len(shown)} more of which less is used", style="dim"))
    return table


def _reservations(queue: Mapping[str, Any]) -> RenderableType:
    if not queue["reservations"]:
        return Text("nothing is kept free" if queue["scheduler"] else "unknown", style="dim")
    lines = []
    for kept in queue["reservations"]:
        machines = ", ".join(printable(machine) for machine in kept["machines"])
        whose = f"your job {kept['job']}" if kept["job"] else "a job of somebody else"
        # It is planned by how long jobs may take at most, an hour where nothing is known: mostly it comes earlier.
        within = estimate.clock(kept["starts_in_seconds"])
        lines.append(Text(f"{machines}  for {whose}, which is to start within {within}"))
    return Group(*lines)


def _bars(machine: Mapping[str, Any]) -> Sequence[RenderableType]:
    total, used = machine["total"], machine["used"]
    memory = f"{used['memory_bytes'] / GIB:.1f}/{total['memory_bytes'] / GIB:.1f} GiB"
    return (
        *_bar(used["cpus"], total["cpus"], f"{used['cpus']:g}/{total['cpus']:g}"),
        *_bar(used["memory_bytes"], total["memory_bytes"], memory),
        *(_bar(used["gpus"], total["gpus"], f"{used['gpus']}/{total['gpus']}") if total["gpus"] else ("", "")),
    )


def _bar(used: float, total: float, words: str) -> tuple[RenderableType, RenderableType]:
    # One who cannot wait may exceed the cores of a machine: the words tell, the bar is full.
    return ProgressBar(total=max(total, 1e-9), completed=min(used, total), width=BAR_WIDTH), Text(words)


def _fullest(machine: Mapping[str, Any]) -> float:
    total: Mapping[str, float] = machine["total"]
    return max((machine["used"][name] / whole for name, whole in total.items() if whole), default=0.0)


def _yours(machine: Mapping[str, Any]) -> str:
    following = machine["your_next_jobs"]
    return f"{machine['your_jobs']}" + (f" (+{following} next)" if following else "")


def _counts(counts: Mapping[str, int]) -> str:
    words = {"ready": "ready", "leased": "worked on"}
    told = [f"{counts[state]} {word}" for state, word in words.items()]
    return " · ".join([*told, *(f"{count} {state}" for state, count in counts.items() if count and state not in words)])


def _style(priority: str) -> str:
    return {"critical": "bold red", "high": "yellow"}.get(priority, "")
