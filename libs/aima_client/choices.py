"""What may be chosen for a case on the command line: how urgent, how confidential, how thorough."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

PRIORITIES = ("critical", "high", "normal", "low", "batch")
CONFIDENTIALITIES = ("public", "internal", "confidential")
PROFILES = ("fast", "default", "thorough")

PriorityOption = Annotated[str | None, typer.Option(help="critical, high, normal, low or batch.")]
DeadlineOption = Annotated[
    str | None, typer.Option(help="When it is needed: in 90m, 2h or 3d, or at 2026-12-24T18:00 (your time).")
]
ConfidentialityOption = Annotated[
    str | None,
    typer.Option(help="public, internal or confidential: what is confidential never leaves your own machines."),
]
ProfileOption = Annotated[str | None, typer.Option(help="fast, default or thorough.")]

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?")


@dataclass(frozen=True)
class Choices:
    """What was chosen; None leaves it as it is, or to AIMA."""

    priority: str | None = None
    deadline: str | None = None
    """Aware time, ISO 8601."""
    confidentiality: str | None = None
    profile: str | None = None

    def given(self) -> Mapping[str, str]:
        """List what was chosen, as the API takes it."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def changes(self, options: Mapping[str, object]) -> Mapping[str, str]:
        """List what is to be changed of a case with these options; its profile stays (model.md, "Runs")."""
        given = {name: value for name, value in self.given().items() if name != "profile"}
        return {name: value for name, value in given.items() if not _same(options.get(name), value)}


NOTHING = Choices()
"""Everything as it is, or as AIMA has it."""


def choose(
    priority: str | None = None,
    deadline: str | None = None,
    confidentiality: str | None = None,
    profile: str | None = None,
) -> Choices:
    """Read the options of a command; raise `typer.BadParameter` that names the one that cannot be used."""
    _one_of(priority, "--priority", PRIORITIES)
    _one_of(confidentiality, "--confidentiality", CONFIDENTIALITIES)
    _one_of(profile, "--profile", PROFILES)
    now = datetime.datetime.now(datetime.UTC)
    try:
        due = read_deadline(deadline, now) if deadline is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--deadline") from error
    return Choices(priority, due, confidentiality, profile)


def read_deadline(text: str, now: datetime.datetime) -> str:
    """Read a deadline, a duration from now or a time (without an offset: this machine's), as aware ISO 8601.

    Raises `ValueError` with what is wrong and what would be right.
    """
    duration = _DURATION.fullmatch(text.strip())
    if text.strip() and duration:
        days, hours, minutes = (int(part or 0) for part in duration.groups())
        due = now + datetime.timedelta(days=days, hours=hours, minutes=minutes)
    else:
        try:
            due = datetime.datetime.fromisoformat(text.strip()).astimezone(datetime.UTC)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text!r} is neither a duration (90m, 2h, 3d) nor a time (2026-12-24T18:00).") from error
    if due <= now:
        raise ValueError(f"{text!r} lies in the past.")
    return due.isoformat(timespec="seconds")


def _same(known: object, wanted: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(str(known)) == datetime.datetime.fromisoformat(wanted)
    except (ValueError, TypeError):
        return known == wanted


def _one_of(value: str | None, option: str, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}.", param_hint=option)
