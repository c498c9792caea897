"""Bad input through the whole path: a clear answer each, nothing half-accepted, and the others go on."""

import asyncio
import ctypes
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.journey.aima_process import (
    RunningAima,
    Told,
    aima,
    all_of,
    analysed,
    calls_of_analyzers,
    documents_of,
    files_below,
    until,
)
from tests.journey.bad_input import large_photo, refused, unusual_but_good, unusual_names
from tests.unit.aima_preprocessing.made_media import Recipe, film, photo, still

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


@dataclass(frozen=True)
class Sent:
    """A folder full of trouble, and what the command made of it."""

    told: Told
    dossier: dict[str, Any]
    page: str
    calls_outside: list[str]
    expected: dict[str, str]
    """The refused files with the codes of their refusals."""

    def item(self, name: str) -> dict[str, Any]:
        (found,) = (item for item in self.dossier["items"] if item["file_name"] == name)
        return dict(found)

    def medium(self, name: str) -> dict[str, Any]:
        identity = self.item(name)["medium_id"]
        (found,) = (medium for medium in self.dossier["media"] if medium["id"] == identity)
        return dict(found)


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP on this machine, noting who calls."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()
        thread.join()


def without_privileges() -> None:
    """Let permissions count for root, too, in the program that is started next."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture(scope="module")
def sent(house: RunningAima, outside: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Hand everything over with one call of the command."""
    folder = tmp_path_factory.mktemp("trouble")
    media, out = folder / "media", folder / "out"
    media.mkdir()
    (folder / "empty folder").mkdir()
    secret = folder / "secret.ts"
    secret.write_bytes(film(Recipe("mpegts")))
    bad = refused(outside[0], secret)
    contents = {name: content for name, (content, _) in bad.items()} | unusual_but_good() | unusual_names()
    for name, content in contents.items():
        (media / name).write_bytes(content)
    locked = folder / "locked.png"
    locked.write_bytes(still(photo(seed=55)))
    locked.chmod(0)
    pipe = folder / "pipe.mp4"
    os.mkfifo(pipe)
    paths = (media, folder / "empty folder", locked, pipe, folder / "missing.mp4")
    options = ("--out", out, "--data", house.data, "--case", "Trouble", "--json")
    told = aima("analyze", *paths, *options, preexec=without_privileges)
    assert told.out, told.err
    dossier = json.loads((out / "dossier.json").read_bytes())
    page = (out / "dossier.html").read_text("utf-8")
    return Sent(told, dossier, page, outside[1], {name: code for name, (_, code) in bad.items()})


def test_some_inputs_were_rejected_and_the_exit_status_says_so(sent: Sent) -> None:
    assert sent.told.status == 3
    assert sent.told.json()["failed"] == []


def test_every_bad_file_is_rejected_by_name_with_reason_and_remedy(sent: Sent) -> None:
    rejected = {item["file_name"]: item for item in sent.dossier["items"] if item["status"] == "rejected"}
    assert {name: item["code"] for name, item in rejected.items()} == sent.expected
    for name, item in rejected.items():
        assert len(item["reason"]) > 15, name
        assert item["remedy"].strip(), name
    told = {rejection["file_name"]: rejection for rejection in sent.told.json()["rejected"]}
    assert {name: (t["reason"], t["remedy"]) for name, t in told.items()} == {
        name: (item["reason"], item["remedy"]) for name, item in rejected.items()
    }


@pytest.mark.parametrize(
    ("path", "reason", "remedy"),
    [
        ("missing.mp4", "no such file", "Check the path"),
        ("empty folder", "no files", "Name a folder with media"),
        ("locked.png", "may not read", "chmod"),
        ("pipe.mp4", "neither a file nor a folder", "Name files"),
    ],
)
def test_what_cannot_be_sent_is_named_with_reason_and_remedy(sent: Sent, path: str, reason: str, remedy: str) -> None:
    (refusal,) = (refusal for refusal in sent.told.json()["refused"] if refusal["path"].endswith(path))
    assert reason in refusal["reason"]
    assert remedy in refusal["remedy"]
    assert path in sent.told.err


def test_all_others_are_analysed(sent: Sent) -> None:
    good = unusual_but_good().keys() | unusual_names().keys()
    ends = {item["file_name"]: item["status"] for item in sent.dossier["items"]}
    assert ends == dict.fromkeys(good, "analysed") | dict.fromkeys(sent.expected, "rejected")
    assert all(sent.medium(name)["missing"] == [] for name in good)


def test_a_film_without_sound_has_shots_and_a_song_with_a_cover_is_sound(sent: Sent) -> None:
    silent, song = sent.medium("silent film.mp4"), sent.medium("song with cover.mp3")
    assert silent["type"] == "video"
    assert silent["audio_codec"] is None
    assert "shots" in {analysis["analyzer"] for analysis in silent["analyses"]}
    assert "speech" not in {analysis["analyzer"] for analysis in silent["analyses"]}
    assert song["type"] == "audio"
    assert {analysis["analyzer"] for analysis in song["analyses"]} >= {"speech", "voice"}


def test_names_stay_as_they_are_and_confuse_neither_page_nor_terminal(sent: Sent) -> None:
    names = {item["file_name"] for item in sent.dossier["items"]}
    assert names >= unusual_names().keys()
    assert "<b>&amp; *?.png" not in sent.page
    assert "&lt;b&gt;&amp;amp; *?.png" in sent.page
    assert "\u202e" not in sent.told.err
    assert "\u202e" not in sent.page


def test_nothing_called_out_and_nothing_beside_the_files_was_opened(sent: Sent) -> None:
    assert sent.calls_outside == []
    assert not any(medium["container"] == "mpegts" for medium in sent.dossier["media"])


async def test_nothing_is_half_accepted(sent: Sent, house: RunningAima) -> None:
    async with documents_of(house.data) as documents:
        rejected = await all_of(documents, "preparations", state="rejected")
        assert len(rejected) == len(sent.expected)
        letters = {letter.body.get("medium") for letter in await all_of(documents, "dead_letters")}
        for preparation in rejected:
            assert preparation.id in letters
            assert preparation.body["segments"] == []
            assert not (house.data / "objects/kept/t/default/derivatives" / preparation.id).exists()
        kept = {medium.id for medium in await all_of(documents, "media")}
    assert files_below(house.data / "objects/uploads") == files_below(house.data / "objects/incoming") == []
    derivatives = {path.name for path in (house.data / "objects/kept/t/default/derivatives").iterdir()}
    assert derivatives < kept


async def test_two_uploads_of_the_same_content_at_once_are_one_medium(house: RunningAima, tmp_path: Path) -> None:
    content = still(photo(400, 300, seed=200))
    async with house.client() as client:
        before = await calls_of_analyzers(client)
        case = await client.create_case("at once")
        paths = [tmp_path / f"copy {number}.png" for number in range(6)]
        for path in paths:
            path.write_bytes(content)
        uploads = await asyncio.gather(*(whole(house, case["id"], path.name, content) for path in paths))
        assert {status for status, _ in uploads} == {201}
        assert len({body["medium"] for _, body in uploads}) == 1
        assert len({body["item"] for _, body in uploads}) == len(paths)
        assert (await client.wait(case["id"]))["counts"]["analysed"] == len(paths)
        after = await calls_of_analyzers(client)
        dossier = await client.dossier(case["id"])
    assert all(after[name] - before.get(name, 0) <= 1 for name in after)
    assert len(dossier["media"]) == 1
    assert len(dossier["exact_duplicates"][0]["item_ids"]) == len(paths)


async def whole(house: RunningAima, case: str, name: str, content: bytes) -> tuple[int, dict[str, Any]]:
    """Upload without asking by hash first."""
    headers = {"Authorization": f"Bearer {house.key}"}
    query = {"case": case, "file_name": name}
    async with (
        aiohttp.ClientSession(house.url, headers=headers) as session,
        session.post("/v1/uploads", params=query, data=content) as answer,
    ):
        return answer.status, dict(await answer.json())


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_and_may_come_again(
    house: RunningAima, tmp_path: Path
) -> None:
    content = large_photo()
    async with house.client() as client:
        case = await client.create_case("interrupted")
        await asyncio.to_thread(half_an_upload, house, case["id"], content)

        async def gone() -> bool:
            return on_their_way(house) == []

        await until("the interrupted upload is thrown away", gone)
        assert (await client.items(case["id"]))["items"] == []
        async with documents_of(house.data) as documents:
            open_sessions = await all_of(documents, "uploads", case=case["id"])
            assert [session.state for session in open_sessions] == ["open"]
            assert open_sessions[0].body["item"] is None
        path = tmp_path / "photo.png"
        path.write_bytes(content)
        await client.upload(case["id"], path)
        shown = await client.wait(case["id"])
    assert shown["counts"]["analysed"] == shown["counts"]["items"] == 1


def on_their_way(house: RunningAima) -> list[Path]:
    """List the files that are not objects yet."""
    return [path for folder in ("uploads", "incoming") for path in files_below(house.data / "objects" / folder)]


def half_an_upload(house: RunningAima, case: str, content: bytes) -> None:
    """Announce a file, send half of it, wait until that has arrived, and hang up."""
    address = urlsplit(house.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80)) as line:
        head = (
            f"POST /v1/uploads?case={case}&file_name=photo.png HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {house.key}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        line.sendall(head.encode() + content[: len(content) // 2])
        deadline = threading.Event()
        for _ in range(400):
            if any(path.stat().st_size for path in on_their_way(house)):
                return
            deadline.wait(0.05)
    raise AssertionError("no byte of the upload arrived")


async def test_what_goes_wrong_over_http_is_told_as_a_problem(house: RunningAima) -> None:
    headers = {"Authorization": f"Bearer {house.key}"}
    async with house.client() as client:
        case = (await client.create_case("problems"))["id"]
    wrong: list[tuple[dict[str, str], int, str]] = [
        ({"case": case, "file_name": "a/b.png"}, 422, "bad_file_name"),
        ({"case": case, "file_name": "n" * 256}, 422, "bad_file_name"),
        ({"case": "no such case", "file_name": "a.png"}, 404, "not_found"),
        ({"file_name": "a.png"}, 422, "no_case"),
        ({"case": case, "file_name": "a.png", "sha256": "0" * 64}, 422, "sha256_mismatch"),
    ]
    async with aiohttp.ClientSession(house.url, headers=headers) as session:
        for query, status, code in wrong:
            async with session.post("/v1/uploads", params=query, data=b"some bytes") as answer:
                problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["code"]) == (status, code)
            assert problem["detail"]
            assert problem["remedy"]
        async with session.get(f"/v1/cases/{case}/items") as answer:
            assert (await answer.json())["items"] == []


async def test_after_all_that_a_photo_is_analysed_as_ever(sent: Sent, house: RunningAima, tmp_path: Path) -> None:
    async with house.client() as client:
        dossier = await analysed(client, {"fine.png": still(photo(seed=400))}, tmp_path)
        assert (await client.ready())["ready"]
    assert [item["status"] for item in dossier["items"]] == ["analysed"]
