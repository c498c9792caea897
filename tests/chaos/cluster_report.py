"""What the matrix leaves for people and machines."""

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aima_monitoring.invariants import Violation
from tests.chaos.cluster_ground import Found
from tests.chaos.controls import Control

COLUMNS = (
    *("fault", "evidence", "control: the checker finds", "media", "requests / unanswered", "violations"),
    *("jobs begun again", "ended", "s to rest", "s"),
)


@dataclass(frozen=True)
class Round:
    """One fault, and what became of a case that was worked on meanwhile."""

    fault: str
    seed: int
    evidence: str
    """What proves that it was inflicted."""
    inflicted: bool
    media: int
    requests: int
    unanswered: int
    found: Found
    seconds: float
    dead_letters_made: int
    allowed_dead_letters: bool

    def failures(self) -> list[str]:
        """Say what was promised and is not so."""
        said = [f"{self.fault}: {v.invariant} {v.subject}: {v.detail}" for v in self.found.violations]
        if not self.inflicted:
            said.append(f"{self.fault}: it was not inflicted: {self.evidence}")
        if not self.found.rested:
            said.append(f"{self.fault}: after {self.found.seconds_to_rest:.0f} s there was still work")
        said += [f"{self.fault}: nobody would notice: {name}" for name, rule in self.found.controls.items() if not rule]
        if self.found.terminal != {"analysed": self.media}:
            said.append(f"{self.fault}: of {self.media} media {self.found.terminal} came to an end")
        if self.dead_letters_made and not self.allowed_dead_letters:
            said.append(f"{self.fault}: {self.dead_letters_made} dead letters")
        return said


@dataclass(frozen=True)
class Matrix:
    """All rounds on one cluster, and what is said of it as a whole."""

    seed: int
    planned: int
    """How many rounds there are to be."""
    replicas: dict[str, int]
    session_seconds: int
    rounds: list[Round]
    controls: list[Control]
    erased: int = 0
    """Canaries that were erased while the next fault was inflicted."""
    objects: int = 0
    bytes: int = 0
    in_the_end: list[Violation] = field(default_factory=list)
    """What was wrong when every byte had been read again."""

    def failures(self) -> list[str]:
        """Say what was promised and is not so."""
        said = [failure for one in self.rounds for failure in one.failures()]
        if len(self.rounds) < self.planned:
            said.append(f"{len(self.rounds)} of {self.planned} faults were inflicted")
        said += [f"in the end: {v.invariant} {v.subject}: {v.detail}" for v in self.in_the_end]
        said += [
            f"control {c.name}: {c.with_it or 'the checker noticed nothing'}" for c in self.controls if not c.passed
        ]
        return said

    @property
    def media(self) -> int:
        """Media of all rounds."""
        return sum(one.media for one in self.rounds)


def as_dict(matrix: Matrix, command: str) -> dict[str, Any]:
    """Lay it out as plain data."""
    return {
        "command": command,
        "passed": not matrix.failures(),
        "failures": matrix.failures(),
        **{name: value for name, value in asdict(matrix).items() if name not in {"rounds", "controls"}},
        "controls": [
            {"name": c.name, "passed": c.passed, "found_without_it": c.without_it, "harm_with_it": c.with_it}
            for c in matrix.controls
        ],
        "rounds": [{**asdict(one), "failures": one.failures()} for one in matrix.rounds],
        "python": platform.python_version(),
    }


def as_markdown(matrix: Matrix, command: str) -> str:
    """Write it as a page."""
    failures = matrix.failures()
    processes = ", ".join(f"{count} {kind}" for kind, count in matrix.replicas.items())
    requests, unanswered = (sum(getattr(one, name) for one in matrix.rounds) for name in ("requests", "unanswered"))
    facts = [
        ("faults, media", f"{len(matrix.rounds)}, {matrix.media}"),
        ("seed of the first round; each one has the next", matrix.seed),
        ("processes", f"{sum(matrix.replicas.values())} ({processes})"),
        ("servers", "Kafka (its session: " + f"{matrix.session_seconds} s), MongoDB, S3, vectors; one each"),
        ("uploads: requests / without an answer / accepted", f"{requests} / {unanswered} / {matrix.media}"),
        ("invariants I1 to I18 violated", sum(len(one.found.violations) for one in matrix.rounds)),
        ("jobs begun again", sum(one.found.redone for one in matrix.rounds)),
        ("media erased under a fault, their labels not found afterwards", matrix.erased),
        ("objects read again and compared with their hash in the end", f"{matrix.objects} ({matrix.bytes} bytes)"),
        *(
            (f"control: what the checker finds without the {c.name}", ", ".join(c.without_it) or "**nothing**")
            for c in matrix.controls
        ),
    ]
    lines = [
        "# A cluster under faults",
        "",
        f"Made by `{command}`; do not edit. For every fault a case of small files, most of them pictures, was sent",
        "through two gateways while the fault was inflicted; when all had come to rest, the checker (I1 to I18) read",
        "the stores.",
        "A fault that cannot prove that it happened is a failure. The control of a round: what the fault could have",
        "done was done to what the checker had just seen, and it found that by the rule that is named.",
        "",
        f"**{'Passed' if not failures else 'Failed'}.**",
        *(f"- {failure}" for failure in failures),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts),
        "",
        "## The faults",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(map(str, _cells(one)))} |" for one in matrix.rounds),
        "",
        "Not shown here: loss of power, more than one machine, several brokers or members of a replica set.",
        "",
    ]
    return "\n".join(lines)


def _cells(one: Round) -> tuple[object, ...]:
    ended = ", ".join(f"{count} {state}" for state, count in one.found.terminal.items())
    controls = "; ".join(f"{name} ({rule or '**nobody**'})" for name, rule in one.found.controls.items())
    return (
        *(one.fault, one.evidence, controls, one.media, f"{one.requests} / {one.unanswered}"),
        len(one.found.violations),
        *(one.found.redone, ended, f"{one.found.seconds_to_rest:.0f}", f"{one.seconds:.0f}"),
    )


def write(matrix: Matrix, path: Path, command: str) -> None:
    """Write the page to `path`, and the data beside it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_markdown(matrix, command))
    path.with_suffix(".json").write_text(json.dumps(as_dict(matrix, command), indent=1) + "\n")
