"""Write what is generated from the contracts, or check that nothing has to be written.

python -m aima_common.contracts             write docs/generated
python -m aima_common.contracts --check     exit status 1 and a list when a file is not what it should be
"""

import argparse
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aima_common import __version__, settings
from aima_common.contracts import asyncapi, overview

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: generated files belong to the sources, not to an installed package."""

DOCUMENTS = {
    "dossier.schema.json": "aima_dossier.schema:dossier_schema",
    "openapi.json": "aima_gateway.openapi:document",
}
"""Descriptions that services make themselves; looked up by name, for the words must not know who speaks them.

A service that is not installed describes nothing; tests/house holds that here all of them do.
"""


OUTSIDE = "outside"
"""The folder of the examples of what is said to and by those outside; there are several of each message."""


def generated(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and text of every generated file; `folder` holds the examples of messages."""
    examples, outside_examples = read_examples(folder), read_examples(folder / OUTSIDE)
    yield "asyncapi.json", _text(asyncapi.document(__version__, examples, outside_examples))
    yield "messages.md", overview.page()
    yield "settings.md", settings.described()
    for name, where in DOCUMENTS.items():
        if importlib.util.find_spec(where.split(":", maxsplit=1)[0]):
            yield name, _text(pkgutil.resolve_name(where)())


def read_examples(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the examples of a folder by their names: `{key, headers, payload}`."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m aima_common.contracts", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something would be written")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "generated", help="folder of the generated files")
    parser.add_argument("--examples", type=Path, default=ROOT / "tests" / "contract" / "examples")
    options = parser.parse_args(arguments)
    stale = []
    for name, text in generated(options.examples):
        path = options.out / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(str(path))
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    if stale and options.check:
        print("Not as the contracts say; run `make contracts` and commit:", *stale, sep="\n  ", file=sys.stderr)
        return 1
    print("as the contracts say" if not stale else f"written: {', '.join(stale)}")
    return 0


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
