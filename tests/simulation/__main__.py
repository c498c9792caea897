"""`python -m tests.simulation 17`: play a seed again and tell what happened; `--without fencing` breaks a protection.

python -m tests.simulation 0-1999          many seeds; those with violations are listed
"""

import argparse
import sys
from dataclasses import fields

from tests.simulation.many import Players
from tests.simulation.memory_store import Protections
from tests.simulation.world import Outcome

SHOWN = 5
"""Seeds that are told of in full."""


def main() -> int:
    """Play, print, and return 1 when some seed broke an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("seeds", help="one seed, or the first and the last of many: 0-1999")
    parser.add_argument("--without", choices=[field.name for field in fields(Protections)], action="append", default=[])
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    with Players() as players:
        outcomes = players.play(seeds, Protections(**dict.fromkeys(arguments.without, False)))
    broken = [outcome for outcome in outcomes if outcome.violations or outcome.deaths]
    for outcome in broken[:SHOWN] if len(outcomes) > 1 else outcomes:
        _tell(outcome)
    if broken:
        print("broken:", *(outcome.seed for outcome in broken))
    print(f"{len(outcomes)} seeds, {len(broken)} with violations")
    return 1 if broken else 0


def _tell(outcome: Outcome) -> None:
    print(f"seed {outcome.seed}, at rest {outcome.drained_after:.0f} s after the last fault")
    for line in outcome.faults:
        print(f"  fault      {line}")
    for job in outcome.jobs:
        print(f"  job        {job.id} {job.state}, epoch {job.epoch}, {job.body['attempts']} attempts")
    for violation in outcome.violations:
        print(f"  VIOLATION  {violation.invariant} {violation.subject}: {violation.detail}")
    for death in outcome.deaths:
        print(f"  DEATH      {death}")


if __name__ == "__main__":
    sys.exit(main())
