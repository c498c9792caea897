"""What a campaign leaves for people and machines."""

import json
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.campaign import Outcome


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Lay a campaign out as plain data."""
    verdict, peace = outcome.verdict, outcome.peace
    return {
        "passed": not outcome.failures(),
        "failures": outcome.failures(),
        "seed": outcome.plan.seed,
        "media": outcome.media,
        "kills": [kill.as_dict() for kill in outcome.kills],
        "leases_held_at_the_kills": outcome.leases,
        "jobs_begun_again": verdict.redone,
        "jobs": verdict.jobs,
        "analyses_computed": {"undisturbed": peace.verdict.computed, "under_fire": verdict.computed},
        "uploads": {
            "requests": outcome.book.invoked,
            "without_answer": outcome.book.unknown,
            "accepted": len(outcome.book.accepted),
        },
        "violations": {"undisturbed": len(peace.verdict.violations), "under_fire": len(verdict.violations)},
        "objects_checked": verdict.objects,
        "bytes_checked": verdict.bytes,
        "canonical_bytes": len(verdict.canonical),
        "canonical_equal": verdict.canonical == peace.verdict.canonical,
        "controls": [{"name": c.name, "passed": c.passed, "found_without_it": c.without_it} for c in outcome.controls],
        "seconds": {"undisturbed": round(peace.seconds, 1), "under_fire": round(outcome.seconds, 1)},
        "python": platform.python_version(),
    }


def as_markdown(told: dict[str, Any], command: str) -> str:
    """Write it as a page."""
    targets = Counter(kill["target"] for kill in told["kills"])
    killed = ", ".join(f"{count} x {target}" for target, count in sorted(targets.items()))
    yes = {True: "yes", False: "**no**"}
    without = {c["name"]: ", ".join(c["found_without_it"]) or "**nothing**" for c in told["controls"]}
    rows = [
        ("media", told["media"]),
        ("killed with SIGKILL", f"{len(told['kills'])} ({killed})"),
        ("uploads: requests / without an answer / accepted", " / ".join(str(n) for n in told["uploads"].values())),
        ("accepted items lost, doubled or changed; invariants I1 to I18 violated", told["violations"]["under_fire"]),
        (
            "objects read again and compared with their hash",
            f"{told['objects_checked']} ({told['bytes_checked']} bytes)",
        ),
        ("canonical dossier equal, byte for byte, to the undisturbed run", yes[told["canonical_equal"]]),
        (
            "jobs begun again / leases held at the kills",
            f"{told['jobs_begun_again']} / {told['leases_held_at_the_kills']}",
        ),
        ("analyses computed: undisturbed / under fire", " / ".join(map(str, told["analyses_computed"].values()))),
        ("control: what the checker finds without fencing", without["fencing"]),
        ("control: what the checker finds without the inbox", without["inbox"]),
        ("seconds: undisturbed / under fire", " / ".join(map(str, told["seconds"].values()))),
    ]
    lines = [
        "# Killed again and again",
        "",
        f"Made by `{command}`; do not edit. The same media were analysed twice: once in peace, once while",
        "processes were killed at random moments after the first segment was done, and started again.",
        "",
        f"**{'Passed' if told['passed'] else 'Failed'}.**",
        *(f"- {failure}" for failure in told["failures"]),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "## The kills",
        "",
        "| pause before it, s | killed | leases held |",
        "|---|---|---|",
        *(f"| {kill['after_seconds']:.1f} | {kill['target']} | {kill['leases']} |" for kill in told["kills"]),
        "",
        "Not shown here: loss of power (nothing was unwritten in the operating system), more than one machine.",
        "",
    ]
    return "\n".join(lines)


def write(outcome: Outcome, path: Path, command: str) -> dict[str, Any]:
    """Write the page to `path`, and the data beside it as JSON."""
    told = as_dict(outcome)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_markdown(told, command))
    path.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    return told
