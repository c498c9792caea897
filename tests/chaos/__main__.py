"""`python -m tests.chaos`: kill AIMA again and again, and prove that nothing was lost, doubled or changed."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Outcome, Plan, in_peace, under_fire
from tests.chaos.media import make_full, make_short
from tests.chaos.report import write

REPORT = Path("docs/generated/crash_report.md")


def main() -> None:
    """Run a campaign; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="length of the film (default 5); 0: the short form")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds until work counts as hung")
    parser.add_argument("--analyzers", help="names, separated by commas (default: all that are on by default)")
    parser.add_argument("--folder", type=Path, help="where to work, and what to leave for a look (default: temporary)")
    parser.add_argument("--report", type=Path, default=REPORT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aima-chaos-") as temporary:
        outcome = asyncio.run(_campaign(arguments, arguments.folder or Path(temporary)))
    command = f"python -m tests.chaos --minutes {arguments.minutes:g} --kills {arguments.kills} --seed {arguments.seed}"
    told = write(outcome, arguments.report, command)
    print(arguments.report.read_text())
    sys.exit(0 if told["passed"] else 1)


async def _campaign(arguments: argparse.Namespace, folder: Path) -> Outcome:
    media = folder / "media"
    files = await asyncio.to_thread(make_full, media, arguments.minutes) if arguments.minutes else make_short(media)
    plan = Plan(arguments.seed, arguments.kills, arguments.patience, arguments.analyzers)
    print(f"{len(files)} media; undisturbed first", flush=True)
    peace = await in_peace(folder / "peace", files, plan)
    print(f"undisturbed: {peace.seconds:.0f} s, {sum(peace.verdict.jobs.values())} jobs; now under fire", flush=True)
    return await under_fire(folder / "fire", files, plan, peace)


if __name__ == "__main__":
    main()
