"""What returns across media: things that were seen, and phrases that were read. Pure.

There are no entities for persons, voices or places: nothing that is installed recognises the same face, voice
or place twice, so a face is a finding of one medium, and AIMA says nothing about whose it is.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from aima_common import ids
from aima_common.contracts.picture import PictureFinding

EntityKind = Literal["thing", "phrase"]

LEAST_LETTERS = 8
"""Shorter lines return by chance: page numbers, dates, single words."""

MEDIA_OF_A_PHRASE = 2
"""A line of text is a phrase when at least this many media show it."""

MOST_STRETCHES = 100
"""Kept of one entity in one medium, the earliest ones; all of them stay in the medium's picture."""

MOST_PHRASES = 300
"""Lines of one medium that are compared with other media, the earliest ones."""


@dataclass(frozen=True, order=True)
class Stretch:
    """Where in a medium something was found."""

    start_seconds: float
    end_seconds: float
    finding: str


@dataclass(frozen=True, order=True)
class Mention:
    """An entity, or what may become one, in one medium."""

    kind: EntityKind
    name: str
    stretches: tuple[Stretch, ...]
    """By time, at least one."""


def mentions(findings: Iterable[PictureFinding]) -> list[Mention]:
    """List what a medium says of entities: one mention for each label, and for each line that may be a phrase."""
    found: dict[tuple[EntityKind, str], list[Stretch]] = {}
    for finding in findings:
        stretch = Stretch(finding.start_seconds, finding.end_seconds, finding.id)
        for name in _names(finding):
            found.setdefault(name, []).append(stretch)
    told = [
        Mention(kind, name, tuple(sorted(set(stretches))[:MOST_STRETCHES])) for (kind, name), stretches in found.items()
    ]
    things = [mention for mention in told if mention.kind == "thing"]
    phrases = [mention for mention in told if mention.kind == "phrase"]
    phrases.sort(key=lambda mention: (mention.stretches[0], mention.name))
    return sorted([*things, *phrases[:MOST_PHRASES]])


def is_entity(kind: EntityKind, media: int) -> bool:
    """Tell whether what so many media mention is an entity."""
    return media >= (MEDIA_OF_A_PHRASE if kind == "phrase" else 1)


def entity_id(tenant: str, kind: EntityKind, name: str) -> str:
    """Name an entity of a tenant; tenants never share one."""
    return ids.derive("entity", tenant, kind, name)


def normalised(text: str) -> str:
    """Write words so that the same words are the same text, whatever their case, spacing and way of encoding."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _names(finding: PictureFinding) -> set[tuple[EntityKind, str]]:
    if finding.kind == "label":
        name = normalised(finding.label or "")
        return {("thing", name)} if name else set()
    if finding.kind == "text":
        lines = {normalised(line) for line in (finding.text or "").splitlines()}
        return {("phrase", line) for line in lines if sum(map(str.isalpha, line)) >= LEAST_LETTERS}
    return set()
