"""The maker: `python -m aima_demo case FOLDER` or `long-film PATH SECONDS FRAMES_PER_SECOND`.

Tells its progress, and the error it ends with, as one JSON object a line.
"""

import json
import sys
from pathlib import Path

from aima_common.errors import PermanentError, TransientError


def _tell(step: str, done: int, total: int) -> None:
    print(json.dumps({"step": step, "done": done, "total": total}), flush=True)


def main(arguments: list[str]) -> int:
    """Make what is asked for."""
    try:
        match arguments:
            case ["case", folder]:
                from aima_demo.making import make_case

                make_case(Path(folder), _tell)
            case ["long-film", path, seconds, frames_per_second]:
                from aima_demo.long_film import make_long_film

                make_long_film(Path(path), float(seconds), int(frames_per_second), _tell)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except PermanentError as error:
        print(json.dumps({"again": False, "message": str(error), "code": error.code, "remedy": error.remedy}))
        return 1
    except TransientError as error:
        print(json.dumps({"again": True, "message": str(error), "code": error.code}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
