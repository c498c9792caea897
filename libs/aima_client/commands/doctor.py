"""`aima doctor`: checks that everything is here that AIMA needs."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aima_client.console import Exit, emit, out

ROOM_BYTES = 2 << 30
"""Below this much free space a film of an hour may not fit."""

PROBE_SECONDS = 60.0
GOLDEN_SECONDS = 600.0

PACKAGES = ("aima", "aiohttp", "av", "onnxruntime", "numpy", "pillow", "qdrant-edge-py", "moonshine-voice", "rapidocr")

GOLDEN = """
import json, sys
from aima_models.golden import golden
from aima_models.store import ModelStore
found = golden(ModelStore(), sys.argv[1])
print(json.dumps({"passed": found.passed, "detail": found.detail, "remedy": found.remedy}))
"""
"""A model is tried in a process of its own: what it loads is gone with it, and so is what it breaks."""


SANDBOX = """
import dataclasses, json
from aima_preprocessing.sandbox import try_layers
print(json.dumps([dataclasses.asdict(layer) for layer in try_layers()]))
"""
"""Layers once put up stay up, so they are tried elsewhere, too."""


@dataclass(frozen=True)
class Finding:
    """What one check showed."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""


def doctor(
    data: Annotated[Path | None, typer.Option(help="The data folder to check.")] = None,
    models: Annotated[bool, typer.Option(help="Try every model on its golden input (a minute).")] = True,  # noqa: FBT002 - a flag
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for machines.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Check versions, ports, disk, the sandbox, and every model against its golden input.

    Exit status 0 when everything is well, 1 when something is not; every line says what to do.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [_versions, _ports, lambda: _disk(data), _sandbox, _instances]
    if models:
        checks.append(_models)
    found: list[Finding] = []
    for check in checks:
        for finding in check():
            found.append(finding)
            if not as_json:
                _draw(finding)
    if as_json:
        emit([asdict(finding) for finding in found])
    if not all(finding.ok for finding in found):
        raise typer.Exit(int(Exit.FAILURE))


def _draw(finding: Finding) -> None:
    mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
    advice = f"\n    [dim]→ {escape(finding.remedy)}[/]" if finding.remedy and not finding.ok else ""
    out.print(f"{mark} [bold]{escape(finding.check)}[/]  {escape(finding.detail)}{advice}", soft_wrap=True)


def _versions() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", not missing, ", ".join(found), f"Install {', '.join(missing)}: `make setup`.")


def _ports() -> Iterator[Finding]:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                yield Finding("ports", ok=True, detail="this machine can listen on, and reach, its own address")
    except OSError as error:
        yield Finding(
            "ports", ok=False, detail=str(error), remedy="Allow connections on 127.0.0.1 (firewall, container)."
        )


def _disk(data: Path | None) -> Iterator[Finding]:
    from aima_client.embedded import default_data

    place = data or default_data()
    existing = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 2**30:.1f} GiB free for {place}"
    yield Finding("disk", free >= ROOM_BYTES, detail, "Free some space, or choose another --data.")


def _sandbox() -> Iterator[Finding]:
    remedy = "Media are refused without it; AIMA_UNSANDBOXED=yes takes the risk knowingly."
    try:
        layers = _asked(SANDBOX, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        yield Finding("sandbox", ok=False, detail=f"it cannot be tried: {error}", remedy=remedy)
        return
    lacking = [f"{layer['name']} ({layer['detail']})" for layer in layers if not layer["active"]]
    held = ", ".join(layer["name"] for layer in layers if layer["active"])
    detail = f"lacks {', '.join(lacking)}" if lacking else f"holds: {held}"
    yield Finding("sandbox", not lacking, detail, remedy)


def _asked(program: str, *arguments: str, timeout: float) -> Any:
    """Run a program in a process of its own; return the JSON that it ends with."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return json.loads(done.stdout.splitlines()[-1])


def _instances() -> Iterator[Finding]:
    from aima_client import state

    running = state.running()
    if not running:
        yield Finding("instances", ok=True, detail="no AIMA runs here now")
    for instance in running:
        yield Finding(
            "instances", ok=True, detail=f"AIMA at {instance.url}, process {instance.pid}, data {instance.data}"
        )


def _models() -> Iterator[Finding]:
    from aima_models.store import ModelStore

    for name in ModelStore().manifests:
        try:
            answer = _asked(GOLDEN, name, timeout=GOLDEN_SECONDS)
            yield Finding(f"model {name}", answer["passed"], answer["detail"], answer["remedy"])
        except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
            yield Finding(
                f"model {name}", ok=False, detail=f"it cannot be tried: {error}", remedy="`aima models build`"
            )
