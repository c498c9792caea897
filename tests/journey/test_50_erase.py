"""Erasing a medium on request: not a word of it stays in any store, and everything else does."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from aima_client.client import Client
from aima_client.errors import MissingError
from aima_demo import make_demo_case
from tests.journey.aima_process import (
    RunningAima,
    aima,
    aima_on,
    all_of,
    documents_of,
    files_below,
    until,
    violations_in,
)

NAME = "Cassandra's notebook.png"
PLANTED = (b"segmentation", b"histogram", b"cassandra")
"""Words of the page and of its file's name."""
KEPT = (b"fail again", b"worstward")
"""Words of the recording beside it, and of its file's name: the control."""
WHERE_WORDS_LIE = ("documents.db", "search.db", "results", "pictures", "dossiers", "vectors")


@dataclass(frozen=True)
class Erased:
    """A case of two media before and after one of them was erased."""

    data: Path
    case: str
    erased: str
    kept: str
    before: dict[bytes, list[str]]


def places_of(words: tuple[bytes, ...], data: Path) -> dict[bytes, list[str]]:
    """Tell in which files each word is found; upper or lower case, in the bytes as they lie on the disk."""
    found: dict[bytes, list[str]] = {word: [] for word in words}
    for path in files_below(data):
        content = path.read_bytes().lower()
        for word in words:
            if word in content:
                found[word].append(str(path.relative_to(data)))
    return found


@pytest.fixture(scope="module")
def two_media(tmp_path_factory: pytest.TempPathFactory) -> Erased:
    """Analyse a page and a recording, and look where their words lie while nobody runs."""
    demo = make_demo_case(tmp_path_factory.mktemp("demo"))
    folder = tmp_path_factory.mktemp("erasure")
    page, recording = folder / NAME, folder / "Worstward.opus"
    page.write_bytes((demo.media_folder / demo.answers.page[0]).read_bytes())
    (opus,) = (path for path in demo.files if path.suffix == ".opus")
    recording.write_bytes(opus.read_bytes())
    data = folder / "data"
    told = aima("analyze", page, recording, "--out", folder / "out", "--data", data, "--case", "Evidence", "--json")
    assert told.status == 0, told.err
    dossier = json.loads((folder / "out/dossier.json").read_bytes())
    media = {item["file_name"]: item["medium_id"] for item in dossier["items"]}
    case = dossier["case"]["id"]
    return Erased(data, case, media[NAME], media[recording.name], places_of(PLANTED, data))


async def erase(running: RunningAima, medium: str) -> None:
    async with running.client() as client:
        before = await client.findings(medium)
        assert before["findings"], "the control: there is something to erase"
        assert (await client.search("segmentation"))["hits"]
        assert (await client.search("markers of the coins", mode="meaning"))["hits"]
        assert await client.thumbnail(medium)
        asked = await client.erase(medium)
        assert asked["requested"]

        async def done() -> bool:
            async with documents_of(running.data) as documents:
                erasures = await all_of(documents, "erasures", medium=medium)
            return bool(erasures) and all(erasure.state == "erased" for erasure in erasures)

        await until("every owner has let go", done)


async def test_not_a_word_of_an_erased_medium_stays_anywhere(two_media: Erased) -> None:
    for word in PLANTED[:2]:
        for place in WHERE_WORDS_LIE[1:]:
            assert any(place in found for found in two_media.before[word]), f"the control: {word!r} in {place}"
    assert any("documents.db" in found for found in two_media.before[b"cassandra"]), "the control of the name"

    with aima_on(two_media.data) as running:
        await erase(running, two_media.erased)
        async with running.client() as client:
            await nobody_finds_it(client, two_media)
            await the_other_is_untouched(client, two_media)
        assert running.stop() == 0
    assert await violations_in(two_media.data) == []
    assert places_of(PLANTED, two_media.data) == {word: [] for word in PLANTED}
    assert all(places_of(KEPT, two_media.data).values()), "the control: the other medium's words are all there"
    tenant = two_media.data / "objects/kept/t/default"
    assert not (tenant / "derivatives" / two_media.erased).exists()
    assert (tenant / "derivatives" / two_media.kept).exists()
    assert len(files_below(tenant / "originals")) == 1


async def nobody_finds_it(client: Client, erased: Erased) -> None:
    async def written() -> bool:
        with contextlib.suppress(MissingError):
            dossier = await client.dossier(erased.case)
            return bool(dossier["complete"]) and [medium["id"] for medium in dossier["media"]] == [erased.kept]
        return False

    await until("the dossier was written anew", written)
    for item in (await client.dossier(erased.case))["items"]:
        assert item["status"] == ("analysed" if item["medium_id"] == erased.kept else "erased")
    assert (await client.medium(erased.erased))["state"] == "erased"
    assert (await client.findings(erased.erased))["findings"] == []
    for mode in ("words", "meaning"):
        hits = (await client.search("segmentation markers of the coins", mode=mode))["hits"]
        assert erased.erased not in {hit["medium"] for hit in hits}
    for picture in (client.thumbnail, client.preview):
        with pytest.raises(MissingError):
            await picture(erased.erased)


async def the_other_is_untouched(client: Client, erased: Erased) -> None:
    assert (await client.findings(erased.kept))["findings"]
    assert {hit["medium"] for hit in (await client.search("fail again"))["hits"]} == {erased.kept}


async def test_what_was_erased_may_be_sent_and_analysed_again(two_media: Erased) -> None:
    folder = two_media.data.parent
    told = aima("analyze", folder / NAME, "--out", folder / "again", "--data", two_media.data, "--json")
    assert told.status == 0, told.err
    assert told.json()["sent_bytes"] == (folder / NAME).stat().st_size
    assert told.json()["analyzer_calls"] > 0, "nothing of the earlier results was left"
    dossier = json.loads((folder / "again/dossier.json").read_bytes())
    assert "Region-based segmentation" in {finding["text"] for finding in dossier["media"][0]["findings"]}
