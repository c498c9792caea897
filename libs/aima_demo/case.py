"""The demo case on disk, made once a user and copied from there."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aima_common.errors import AimaError, PermanentError, UnavailableError
from aima_demo.answers import Answers
from aima_demo.sources import Progress, cache_folder

ANSWERS_FILE = "answers.json"
MEDIA_FOLDER = "media"
LAST_LINES = 8
"""How much of the maker's complaints an error repeats."""


@dataclass(frozen=True)
class DemoCase:
    """A folder with media and, beside them, what should be found in them."""

    folder: Path
    answers: Answers

    @property
    def media_folder(self) -> Path:
        """The folder to be analysed; it holds nothing but media."""
        return self.folder / MEDIA_FOLDER

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case, in the order of names."""
        return tuple(self.media_folder / name for name in sorted(self.answers.sizes))

    @property
    def film(self) -> Path:
        """The film."""
        return self.media_folder / self.answers.film.name


def silent(step: str, done: int, total: int) -> None:
    """Tell nobody."""


def make_demo_case(folder: Path, progress: Progress = silent) -> DemoCase:
    """Make the demo case in `folder`; at once when it lies there or in the user's cache already.

    Files that somebody added to the folder of media stay. Blocks for up to a minute; the work is
    done by a child process. Raises UnavailableError when the photos cannot be downloaded and
    PermanentError when this machine cannot make them.
    """
    ready = read_demo_case(folder)
    if ready is not None:
        return ready
    made = cache_folder() / f"case-{recipe()}"
    if read_demo_case(made) is None:
        run_maker(["case", str(made)], progress)
    (folder / MEDIA_FOLDER).mkdir(parents=True, exist_ok=True)
    shutil.copytree(made / MEDIA_FOLDER, folder / MEDIA_FOLDER, dirs_exist_ok=True)
    # Last, so that a case without answers is one that is not whole yet.
    shutil.copyfile(made / ANSWERS_FILE, folder / ANSWERS_FILE)
    case = read_demo_case(folder)
    if case is None:
        raise UnavailableError(f"the demo case in {folder} changed while it was copied", code="demo_changed")
    return case


def make_long_film(path: Path, minutes: float, fps: int = 25, progress: Progress = silent) -> Path:
    """Make an MP4 of at least `minutes`: the demo's film again and again, encoded once.

    1280x720, H.264 and AAC, with speech and cuts throughout; about 10 MiB a minute. The one round
    that it repeats is kept in the user's cache.
    """
    if not 0 < minutes <= 24 * 60:
        raise ValueError("a film lasts from a moment to a day")
    if not 1 <= fps <= 60:
        raise ValueError("a film has 1 to 60 frames a second")
    path.parent.mkdir(parents=True, exist_ok=True)
    run_maker(["long-film", str(path), str(minutes * 60), str(fps)], progress)
    return path


def read_demo_case(folder: Path) -> DemoCase | None:
    """Find a whole demo case of the present recipe; None when there is none."""
    try:
        answers = Answers.from_json(json.loads((folder / ANSWERS_FILE).read_text(encoding="utf-8")))
        sizes = {name: (folder / MEDIA_FOLDER / name).stat().st_size for name in answers.sizes}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return DemoCase(folder, answers) if answers.recipe == recipe() and sizes == answers.sizes else None


def recipe() -> str:
    """Name the way in which the media are made: a digest of the code that makes them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def run_maker(arguments: Sequence[str], progress: Progress) -> None:
    """Make media in a child process, so that the libraries for it never burden this one."""
    command = [sys.executable, "-m", "aima_demo", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        maker = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True, encoding="utf-8"
        )
        try:
            with maker:
                assert maker.stdout is not None  # noqa: S101 - asked for above
                refusal = _follow(maker.stdout, progress)
        finally:
            maker.kill()
        complaints.seek(0)
        last = "\n".join(complaints.read().splitlines()[-LAST_LINES:])
    if refusal is not None:
        raise refusal
    if maker.returncode != 0:
        raise UnavailableError(f"making the demo media ended with {maker.returncode}: {last}", code="demo_maker")


def _follow(lines: Iterable[str], progress: Progress) -> AimaError | None:
    """Pass on what the maker tells, one JSON value a line; give the error it ended with, if it named one."""
    refusal: AimaError | None = None
    for line in lines:
        told = json.loads(line)
        if "step" in told:
            progress(told["step"], told["done"], told["total"])
        elif told["again"]:
            refusal = UnavailableError(told["message"], code=told["code"])
        else:
            refusal = PermanentError(told["message"], code=told["code"], remedy=told["remedy"])
    return refusal
