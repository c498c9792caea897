"""The registry of analyzers: sorted, one line each. Reading it loads no model and no heavy library."""

from collections.abc import Iterable, Mapping

from aima_analysis.analyzers.analyzer import Analyzer
from aima_analysis.analyzers.echo import Echo
from aima_analysis.analyzers.faces import Faces
from aima_analysis.analyzers.labels import Labels
from aima_analysis.analyzers.shots import Shots
from aima_analysis.analyzers.speech import Speech
from aima_analysis.analyzers.text import Text
from aima_analysis.analyzers.voice import Voice
from aima_common.errors import SettingsError

ANALYZERS: Mapping[str, type[Analyzer]] = {
    "echo": Echo,
    "faces": Faces,
    "labels": Labels,
    "shots": Shots,
    "speech": Speech,
    "text": Text,
    "voice": Voice,
}
"""Every analyzer there is, by name."""

ON_REQUEST = frozenset({"echo"})
"""Analyzers that run only when somebody names them."""


def chosen(names: str | None) -> list[type[Analyzer]]:
    """Give the analyzers of a comma-separated list (the value of AIMA_ANALYZERS); without one, the usual ones.

    Raises SettingsError for a name that is not in the registry.
    """
    if not names:
        return [ANALYZERS[name] for name in sorted(ANALYZERS) if name not in ON_REQUEST]
    return [_named(name) for name in sorted(_words(names))]


def _words(names: str) -> Iterable[str]:
    return {name.strip() for name in names.split(",") if name.strip()}


def _named(name: str) -> type[Analyzer]:
    try:
        return ANALYZERS[name]
    except KeyError:
        known = ", ".join(sorted(ANALYZERS))
        raise SettingsError(f"AIMA_ANALYZERS names {name!r}, but the analyzers are {known}") from None
