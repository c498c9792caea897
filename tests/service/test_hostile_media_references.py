"""Files that make a decoder open something else: they fire without our precautions, and with any one of them do not."""

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aima_preprocessing.decoder_client import DecoderClient, PreparationPlan
from aima_preprocessing.refusals import MediumRefusedError
from tests.service import hostile_media_attempt
from tests.unit.aima_preprocessing.made_media import Recipe, film

SCRIPT = Path(hostile_media_attempt.__file__)


@dataclass
class Outside:
    """What an attack wants to reach, and whether it did."""

    folder: Path
    address: str
    free_port: int
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """Lay out a folder with another film in it, and a web server that notes who calls."""
    (tmp_path / "other.ts").write_bytes(film(Recipe("mpegts")))
    requests: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield Outside(tmp_path, f"http://127.0.0.1:{server.server_port}", port & ~1, requests)
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Attack:
    content: Callable[[Outside], str]
    name: str = ""
    """The name that the file object carries."""


def _hls(address: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n"


ATTACKS = {
    "a playlist that calls an address": Attack(lambda outside: _hls(f"{outside.address}/secret.ts"), "upload.m3u8"),
    "a playlist that reads a file": Attack(lambda outside: _hls(str(outside.folder / "other.ts")), "upload.m3u8"),
    "a script that joins a file of the working directory": Attack(
        lambda _outside: "ffconcat version 1.0\nfile other.ts\n"
    ),
    "a description that listens on the network": Attack(
        lambda outside: (
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {outside.free_port} RTP/AVP 0\n"
        )
    ),
}


def fires(way: str, attack: Attack, outside: Outside) -> bool:
    """Open the attack in a way, and tell whether it reached anything: an address, a file, a socket."""
    path = outside.folder / "upload"
    path.write_text(attack.content(outside))
    outside.requests.clear()
    command = [sys.executable, str(SCRIPT), way, str(path), attack.name]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command, cwd=outside.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        listened = False
        while process.poll() is None:
            listened = listened or _is_bound(outside.free_port)
            time.sleep(0.02)
        opened = process.returncode == 0
    return opened or listened or bool(outside.requests)


def _is_bound(port: int) -> bool:
    """Tell whether some process listens on this UDP port."""
    table = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in table)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_fires_when_opened_carelessly(attack: Attack, outside: Outside) -> None:
    assert fires("careless", attack, outside)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_no_demuxer_of_our_list_follows_an_attack(attack: Attack, outside: Outside) -> None:
    assert not fires("listed", attack, outside)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_box_holds_even_when_it_is_opened_carelessly_inside(attack: Attack, outside: Outside) -> None:
    assert not fires("boxed", attack, outside)


def test_the_listed_and_the_boxed_way_open_what_is_harmless(outside: Outside) -> None:
    good = outside.folder / "good"
    good.write_bytes((outside.folder / "other.ts").read_bytes())
    for way in ("careless", "listed", "boxed"):
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run([sys.executable, str(SCRIPT), way, str(good), ""], check=False, env=environment)
        assert done.returncode == 0, way


async def test_all_of_them_are_refused_by_name_and_reach_nothing(outside: Outside) -> None:
    client = DecoderClient()
    try:
        for name, attack in ATTACKS.items():
            path = outside.folder / "disguised.mp4"
            path.write_text(attack.content(outside))
            with pytest.raises(MediumRefusedError) as caught:
                await _decode(client, path)
            assert caught.value.code in {"playlist", "concat_script", "session_description"}, name
            assert "files themselves" in caught.value.remedy
    finally:
        await client.close()
    assert outside.requests == []


async def _decode(client: DecoderClient, path: Path) -> None:
    async with contextlib.aclosing(client.prepare(str(path), PreparationPlan())) as events:
        async for _ in events:
            pass
