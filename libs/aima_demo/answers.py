"""What should be found in the demo case, and how far from it an answer is; pure."""

import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Region:
    """A rectangle as fractions of the picture; the origin is top left."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Title:
    """Words burned into the film, and when they stand still and fully visible."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class FilmAnswers:
    """What happens in the film."""

    name: str
    duration_seconds: float
    frames_per_second: int
    cuts_seconds: tuple[float, ...]
    """When the first frame of the next shot is shown, for every hard cut."""
    dissolve_seconds: tuple[float, float]
    """When the one gradual change between shots begins and ends."""
    titles: tuple[Title, ...]
    speech: str


@dataclass(frozen=True)
class Answers:
    """What should be found in every file of the case; names are paths below the folder of media."""

    recipe: str
    """Names the way in which the files were made."""
    sizes: Mapping[str, int]
    """The bytes of every file, by name."""
    film: FilmAnswers
    recordings: Mapping[str, str]
    """What is said in every recording."""
    page: tuple[str, str]
    """The name of the page, and what stands on it."""
    faces: Mapping[str, tuple[Region, ...]]
    """The faces in those photos that were looked through for them."""
    exact_duplicates: tuple[tuple[str, str], ...]
    near_duplicates: tuple[tuple[str, str], ...]
    rejected: Mapping[str, str]
    """Why a file cannot be analysed, in words."""

    def to_json(self) -> dict[str, Any]:
        """Give plain values that `from_json` understands."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Answers":
        """Read what `to_json` gave; raise KeyError or TypeError for anything else."""
        film = value["film"]
        return cls(
            recipe=value["recipe"],
            sizes=dict(value["sizes"]),
            film=FilmAnswers(
                **{
                    **film,
                    "cuts_seconds": tuple(film["cuts_seconds"]),
                    "dissolve_seconds": (film["dissolve_seconds"][0], film["dissolve_seconds"][1]),
                    "titles": tuple(Title(**title) for title in film["titles"]),
                }
            ),
            recordings=dict(value["recordings"]),
            page=(value["page"][0], value["page"][1]),
            faces={name: tuple(Region(**face) for face in faces) for name, faces in value["faces"].items()},
            exact_duplicates=tuple((one, other) for one, other in value["exact_duplicates"]),
            near_duplicates=tuple((one, other) for one, other in value["near_duplicates"]),
            rejected=dict(value["rejected"]),
        )


def words(text: str) -> list[str]:
    """Split into small-lettered words, without punctuation: what word error rates are counted over."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = "".join(character if character.isalnum() or character == "'" else " " for character in plain)
    return [word.strip("'") for word in kept.split() if word.strip("'")]


def edits(reference: Sequence[T], found: Sequence[T]) -> int:
    """Count the fewest insertions, deletions and substitutions between two sequences (Levenshtein 1966)."""
    row = list(range(len(found) + 1))
    for up, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], up
        for at, seen in enumerate(found, start=1):
            diagonal, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, diagonal + (expected != seen))
    return row[-1]


def word_error_rate(reference: str, found: str) -> float:
    """Edits per word of the reference; more than 1 when too much was found, infinite for an empty reference."""
    return _rate(words(reference), words(found))


def character_error_rate(reference: str, found: str) -> float:
    """Edits per character of the reference, counted over letters, digits and single spaces."""
    return _rate(" ".join(words(reference)), " ".join(words(found)))


def _rate(reference: Sequence[T], found: Sequence[T]) -> float:
    wrong = edits(reference, found)
    if not reference:
        return float("inf") if wrong else 0.0
    return wrong / len(reference)


def overlap(one: Region, other: Region) -> float:
    """Give the intersection of two regions over their union, from 0 to 1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)


@dataclass(frozen=True)
class CutMatch:
    """How the cuts that were found relate to those there are."""

    matched: tuple[tuple[float, float], ...]
    """Pairs of an expected and a found time."""
    missed: tuple[float, ...]
    invented: tuple[float, ...]


def match_cuts(expected: Sequence[float], found: Sequence[float], tolerance_seconds: float) -> CutMatch:
    """Pair each expected cut with the nearest unused found one within the tolerance, in the order of time."""
    free = sorted(found)
    matched: list[tuple[float, float]] = []
    missed: list[float] = []
    for cut in sorted(expected):
        # A hundredth of a millisecond forgives decimal rounding of frame times, nothing else.
        near = [time for time in free if abs(time - cut) <= tolerance_seconds + 1e-5]
        if not near:
            missed.append(cut)
            continue
        best = min(near, key=lambda time: abs(time - cut))
        free.remove(best)
        matched.append((cut, best))
    return CutMatch(tuple(matched), tuple(missed), tuple(free))
