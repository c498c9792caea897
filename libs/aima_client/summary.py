"""What an analysis came to, in a few lines that people enjoy reading. Pure but for the drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aima_client.estimate import clock
from aima_client.inputs import Refusal

MOST_LABELS = 6
MOST_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """A finished analysis."""

    dossier: Mapping[str, Any]
    refused: Sequence[Refusal]
    analyzer_calls: int
    seconds: float
    folder: Path
    sent_bytes: int = 0
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def rejected(self) -> list[Mapping[str, Any]]:
        """Items that were not analysed because of what they are."""
        return [item for item in self.dossier["items"] if item["status"] == "rejected"]

    @property
    def broken(self) -> list[Mapping[str, Any]]:
        """Items that AIMA could not finish."""
        return [item for item in self.dossier["items"] if item["status"] in {"failed", "cancelled"}]

    def body(self) -> dict[str, Any]:
        """Write it for machines."""
        return {
            "case": self.dossier["case"],
            "summary": self.dossier["summary"],
            "rejected": [
                {"file_name": item["file_name"], "reason": item["reason"], "remedy": item.get("remedy")}
                for item in self.rejected
            ],
            "failed": [{"file_name": item["file_name"], "reason": item["reason"]} for item in self.broken],
            "refused": [{"path": one.path, "reason": one.reason, "remedy": one.remedy} for one in self.refused],
            "analyzer_calls": self.analyzer_calls,
            "seconds": round(self.seconds, 1),
            "sent_bytes": self.sent_bytes,
            "dossier": {name: str(self.folder / f"dossier.{name}") for name in ("json", "html")},
        }


def draw(outcome: Outcome, console: Console) -> None:
    """Show it."""
    summary = outcome.dossier["summary"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="bold cyan", no_wrap=True)
    table.add_column()
    for number, words in _lines(summary):
        table.add_row(str(number), words)
    parts: list[Any] = [table]
    if unlucky := _unlucky(outcome):
        parts += [Text(), unlucky]
    parts += [Text(), _effort(outcome)]
    title = f"[bold]{escape(str(outcome.dossier['case']['name']))}[/]"
    console.print(Panel(Group(*parts), title=title, title_align="left", box=box.ROUNDED, padding=(1, 2), expand=False))
    console.print(f"  [bold green]Dossier[/]  {escape(str(outcome.folder / 'dossier.html'))}", soft_wrap=True)


def _lines(summary: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """List what there is; what there is none of is left out."""
    minutes = summary["duration_seconds"] / 60
    counted = [
        (summary["faces"], "appearance of a face", "appearances of faces"),
        (summary["speech_lines"], "line of speech", "lines of speech" + _in_languages(summary)),
        (summary["text_lines"], "line of text in pictures", "lines of text in pictures"),
        (summary["shots"], "shot", "shots"),
        (summary["exact_duplicates"], "exact duplicate", "exact duplicates"),
        (summary["near_duplicates"], "pair of near duplicates", "pairs of near duplicates"),
    ]
    lines: list[tuple[Any, str]] = [(summary["media"], f"media: {_kinds(summary)}")]
    if minutes:
        lines.append((f"{minutes:.1f}", "minutes of film and sound"))
    lines += [(count, one if count == 1 else many) for count, one, many in counted if count]
    if summary["labels"]:
        seen = ", ".join(escape(label) for label in summary["labels"][:MOST_LABELS])
        lines.append(
            (len(summary["labels"]), f"things seen: {seen}{' …' if len(summary['labels']) > MOST_LABELS else ''}")
        )
    return lines


def _kinds(summary: Mapping[str, Any]) -> str:
    kinds = (("stills", "photo"), ("films", "film"), ("recordings", "recording"))
    named = [f"{summary[field]} {word}{'' if summary[field] == 1 else 's'}" for field, word in kinds if summary[field]]
    return ", ".join(named) or "none"


def _in_languages(summary: Mapping[str, Any]) -> str:
    languages = [escape(str(language)) for language in summary["languages"]]
    return f" ({', '.join(languages)})" if languages else ""


def _unlucky(outcome: Outcome) -> Table | None:
    lines = [
        (str(item["file_name"]), item["reason"], item.get("remedy")) for item in (*outcome.rejected, *outcome.broken)
    ]
    lines += [(one.path, one.reason, one.remedy) for one in outcome.refused]
    if not lines:
        return None
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), title="Not analysed", title_justify="left")
    table.add_column(style="yellow", overflow="fold", max_width=36)
    table.add_column(overflow="fold")
    for name, reason, remedy in lines[:MOST_LINES]:
        table.add_row(escape(printable(name)), f"{escape(reason or 'no reason is known')}" + _advice(remedy))
    if len(lines) > MOST_LINES:
        table.add_row("…", f"and {len(lines) - MOST_LINES} more, all in the dossier")
    return table


def _advice(remedy: str | None) -> str:
    return f"\n[dim]→ {escape(remedy)}[/]" if remedy else ""


def _effort(outcome: Outcome) -> Text:
    calls = outcome.analyzer_calls
    work = "no analyzer was called: everything was known" if calls == 0 else f"{calls} calls of analyzers"
    return Text(f"{work} · {clock(outcome.seconds)}", style="dim")


def printable(text: str) -> str:
    """Write a name so that no character of it can confuse a terminal or its reader."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
