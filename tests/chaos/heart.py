"""`python -m tests.chaos.heart`: kill the scheduler's heart a thousand times, and prove that it forgets nothing (B11).

Each life is a process of its own on one embedded store, killed by SIGKILL at a random moment or at a random call of
the store; the next one looks at what it left. In the end one life is left alone until every job has ended.
"""

import argparse
import asyncio
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from tests.chaos.heart_check import DOUBLED, HUNG
from tests.chaos.heart_life import ACCEPTED, ENDED, Life, live

REPORT = Path("docs/generated/heart_report.md")
LIFE_SECONDS = 0.3
"""How long a life lasts on average once it has begun, where it is killed from outside."""

CALLS = 60
"""A life that ends at a call of the store ends at one of the first so many, drawn evenly."""

BIRTH_SECONDS = 60.0
END_SECONDS = 30.0
"""How long the last life may take to come to its end beyond its patience."""


@dataclass
class Campaign:
    """What was done, and what was found."""

    seed: int
    kills: int
    jobs: int
    wrong: list[str] = field(default_factory=list)
    at_a_call: int = 0
    at_a_moment: int = 0
    unborn: int = 0
    """Lives that were killed while they looked at what the last one had left."""
    seconds: float = 0.0
    states: dict[str, int] = field(default_factory=dict)
    interruptions: int = 0
    """Attempts that were cut off."""
    gave_way: int = 0
    """So often a job gave its room to a critical one."""


def campaign(
    folder: Path,
    *,
    seed: int,
    kills: int,
    jobs_per_life: int = 5,
    what: Life | None = None,
    progress: Callable[[int], None] = lambda _number: None,
) -> Campaign:
    """Kill so many lives one after the other, then let one end its work; `what` says what the lives have in common."""
    began = time.monotonic()
    rng = random.Random(seed)
    done = Campaign(seed, kills, kills * jobs_per_life)
    common = what or Life(0, seed, 0, 0)
    (folder / ACCEPTED).touch()
    for number in range(kills):
        first = number * jobs_per_life
        life = replace(common, number=number, seed=seed, first=first, last=first + jobs_per_life)
        if rng.random() < 0.5:
            life = replace(life, dies_at_call=rng.randint(1, CALLS), dies_before=rng.random() < 0.5)
        _kill(folder, life, rng, done)
        progress(number + 1)
    last = replace(common, number=kills, seed=seed, first=done.jobs, last=done.jobs)
    _let_end(folder, last, done)
    wrong = folder / "wrong"
    done.wrong += wrong.read_text().splitlines() if wrong.exists() else []
    done.seconds = time.monotonic() - began
    _count(folder, done)
    return done


def _kill(folder: Path, life: Life, rng: random.Random, done: Campaign) -> None:
    process, begun = _start(folder, life)
    # A few die before they have looked round.
    unborn = life.dies_at_call is None and rng.random() < 0.1
    if unborn:
        time.sleep(rng.uniform(0.0, 0.1))
    elif not _wait(begun, BIRTH_SECONDS):
        done.wrong.append(f"life {life.number} had not begun after {BIRTH_SECONDS:g} s")
    pause = 20 * LIFE_SECONDS if life.dies_at_call is not None else rng.expovariate(1 / LIFE_SECONDS)
    if not unborn:
        _ended(process, pause)
    died = _kill_now(process)
    os.close(begun)
    done.unborn += unborn
    done.at_a_call += not unborn and died and life.dies_at_call is not None
    done.at_a_moment += not unborn and not (died and life.dies_at_call is not None)


def _let_end(folder: Path, life: Life, done: Campaign) -> None:
    process, begun = _start(folder, life)
    if not _ended(process, life.patience_seconds + END_SECONDS):
        done.wrong.append("the last life did not come to its end")
    _kill_now(process)
    os.close(begun)


def _start(folder: Path, life: Life) -> tuple[int, int]:
    """Begin a life in a process of its own; give its number, and what can be read from once it has begun."""
    readable, writable = os.pipe()
    process = os.fork()
    if process:
        os.close(writable)
        return process, readable
    status = 1
    try:
        os.close(readable)
        wrong = asyncio.run(live(folder, life, lambda: _say(writable)))
        status = 2 if wrong else 0
    except BaseException:  # noqa: BLE001 - a life that breaks is what is looked for; it must not go on as its parent
        with (folder / "wrong").open("a") as file:
            file.write(f"life {life.number} broke: {traceback.format_exc()[-1500:]}\n")
    finally:
        os._exit(status)


def _say(descriptor: int) -> None:
    os.write(descriptor, b".")


def _wait(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def _ended(process: int, seconds: float) -> bool:
    """Wait until a process has ended, for so long at most; it stays to be collected."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.002)
    return False


def _kill_now(process: int) -> bool:
    """Kill and collect a process; tell whether it had died before."""
    died = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return died


def _count(folder: Path, done: Campaign) -> None:
    """Take over what the last life has counted, where it came to its end."""
    if (folder / ENDED).exists():
        told = json.loads((folder / ENDED).read_text())
        done.states, done.interruptions, done.gave_way = told["states"], told["interruptions"], told["gave_way"]


CONTROL_TRIES = 5

CONTROLS: dict[str, tuple[Life, str]] = {
    "nobody is fenced": (Life(0, 0, 0, 0, fencing=False, patience_seconds=20.0), DOUBLED),
    "nobody takes over what the dead held": (
        Life(0, 0, 0, 0, inherits=False, patience_seconds=8.0),
        f"{HUNG}: it is leased",
    ),
}
"""Protections that are switched off, and what must be noticed then. The leases of the dead would end after 30 s, and
nobody reaps here."""


def controls(seed: int, kills: int) -> dict[str, int]:
    """Kill hearts without a protection each; tell how much was found to be wrong.

    What a protection is there for happens by chance: where it did not, it is tried again, some times.
    """
    found = dict.fromkeys(CONTROLS, 0)
    for name, (what, sign) in CONTROLS.items():
        for number in range(CONTROL_TRIES):
            with tempfile.TemporaryDirectory() as folder:
                wrong = campaign(Path(folder), seed=seed + number, kills=kills, what=what).wrong
            found[name] = sum(sign in one for one in wrong)
            if found[name]:
                break
    return found


def as_dict(done: Campaign, without: dict[str, int]) -> dict[str, Any]:
    """Lay a campaign out as plain data."""
    return {
        "passed": not done.wrong and all(without.values()),
        "seed": done.seed,
        "kills": {"at a moment": done.at_a_moment, "at a call": done.at_a_call, "while looking round": done.unborn},
        "jobs": done.jobs,
        "states": done.states,
        "attempts_cut_off": done.interruptions,
        "gave_way": done.gave_way,
        "wrong": done.wrong,
        "found_without": without,
        "seconds": round(done.seconds),
    }


def as_markdown(told: dict[str, Any], command: str) -> str:
    """Write it as a page."""
    kills = ", ".join(f"{count} {how}" for how, count in told["kills"].items())
    rows = [
        ("killed with SIGKILL", kills),
        ("jobs", f"{told['jobs']}: " + ", ".join(f"{n} {state}" for state, n in sorted(told["states"].items()))),
        ("attempts that were cut off and begun again", told["attempts_cut_off"]),
        ("jobs that gave way to a critical one, in every other life", told["gave_way"]),
        (
            "jobs lost, told twice or never ended; machines overfilled; allocations that are not what runs",
            len(told["wrong"]),
        ),
        *((f"control: found where {name}", found) for name, found in told["found_without"].items()),
        ("seconds", told["seconds"]),
    ]
    return "\n".join(
        [
            "# The scheduler's heart, killed again and again",
            "",
            f"Made by `{command}`; do not edit. Three schedulers place the jobs of",
            "three tenants on three machines, on the embedded store; jobs are cancelled and change their urgency,",
            "machines come and go, the clock jumps by 25 or 50 minutes, hints and ends are told twice and late. Each",
            "process is killed at a random moment, or before or after a random call of its store, and the next one",
            "looks at what it left before it goes on.",
            "",
            f"**{'Passed' if told['passed'] else 'Failed'}.**",
            *(f"- {one}" for one in told["wrong"][:50]),
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.heart", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work, and what to leave for a look (default: temporary)")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="aima-heart-"))
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("lives", total=options.kills)
        done = campaign(
            folder, seed=options.seed, kills=options.kills, progress=lambda n: bar.update(task, completed=n)
        )
    told = as_dict(done, controls(options.seed, min(20, options.kills)))
    if options.folder is None:
        shutil.rmtree(folder)
    command = f"python -m tests.chaos.heart --kills {options.kills} --seed {options.seed}"
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(as_markdown(told, command))
    options.report.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    sys.stdout.write(options.report.read_text())
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
