import io
import zipfile

import pytest
from PIL import Image

from aima_preprocessing import sniff
from aima_preprocessing.refusals import MediumRefusedError
from aima_preprocessing.sniff import HEAD_BYTES, Kind, kind_of_label
from tests.unit.aima_preprocessing.made_media import Recipe, film, photo, recording_with_cover, still


def kind_of(data: bytes) -> Kind | None:
    return sniff.sniff(data[:HEAD_BYTES], len(data))


def refusal_of(data: bytes) -> MediumRefusedError:
    with pytest.raises(MediumRefusedError) as caught:
        kind_of(data)
    return caught.value


@pytest.mark.parametrize(
    ("recipe", "opener"),
    [
        (Recipe("mp4"), "mov"),
        (Recipe("mov"), "mov"),
        (Recipe("matroska"), "matroska"),
        (Recipe("webm", picture="libvpx-vp9", sound="libopus"), "matroska"),
        (Recipe("avi", picture="mpeg4", sound="libmp3lame"), "avi"),
        (Recipe("mpegts"), "mpegts"),
        (Recipe("mpeg", picture="mpeg2video", sound="mp2", rate=25), "mpeg"),
        (Recipe("flv", picture="flv"), "flv"),
        (Recipe("ogg", picture=None, sound="libopus"), "ogg"),
        (Recipe("mp3", picture=None, sound="libmp3lame"), "mp3"),
        (Recipe("adts", picture=None), "aac"),
        (Recipe("ipod", picture=None), "mov"),
        (Recipe("wav", picture=None, sound="pcm_s16le"), "wav"),
        (Recipe("flac", picture=None, sound="flac"), "flac"),
        (Recipe("aiff", picture=None, sound="pcm_s16be"), "aiff"),
    ],
    ids=lambda value: value.container if isinstance(value, Recipe) else None,
)
def test_a_film_or_recording_is_given_its_one_demuxer(recipe: Recipe, opener: str) -> None:
    kind = kind_of(film(recipe))
    assert kind is not None
    assert (kind.family, kind.opener) == ("stream", opener)


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_picture_is_given_its_one_plug_in(container: str) -> None:
    kind = kind_of(still(photo(), container))
    assert kind is not None
    assert (kind.family, kind.opener) == ("still", container)


def test_an_mp3_with_a_tag_in_front_and_one_without_are_both_mp3() -> None:
    tagged = recording_with_cover()
    bare = tagged[tagged.index(b"\xff\xfb") :]
    assert kind_of(tagged) == kind_of(bare) == sniff.MP3


def test_an_old_quicktime_film_without_a_type_box_is_quicktime() -> None:
    assert kind_of(b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat" + bytes(100)) == sniff.QUICKTIME


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n", "playlist"),
        (b"\xef\xbb\xbf#EXTM3U\n", "playlist"),
        (b"\n\n  #extm3u", "playlist"),
        ("#EXTM3U\n".encode("utf-16"), "playlist"),
        (b"[playlist]\nFile1=http://x/", "playlist"),
        (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', "playlist"),
        (b"ffconcat version 1.0\nfile secret.mp4\n", "concat_script"),
        (b"file '/etc/passwd'\n", "concat_script"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "session_description"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b'<?xml version="1.0"?>\n<!-- a drawing -->\n<svg/>', "svg"),
        (b"<!DOCTYPE html><html></html>", "html"),
        (b"  <HTML><body>", "html"),
        (b"%PDF-1.7\n", "document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "document"),
        (b"{\\rtf1 hello}", "document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "document"),
        (b"#!/bin/sh\nrm -rf /\n", "text"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "program"),
        (b"MZ\x90\x00" + bytes(100), "program"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "archive"),
        (b"Rar!\x1a\x07\x00", "archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "archive"),
    ],
)
def test_what_points_elsewhere_runs_or_unpacks_is_refused_by_name(content: bytes, code: str) -> None:
    refusal = refusal_of(content)
    assert refusal.code == code
    assert refusal.reason
    assert refusal.remedy.endswith(".")


def test_a_zip_is_refused_as_an_archive() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("film.mp4", b"x")
    assert refusal_of(buffer.getvalue()).code == "archive"


def test_an_empty_file_is_refused_as_empty() -> None:
    refusal = refusal_of(b"")
    assert refusal.code == "empty"
    assert "0 bytes" in refusal.reason


def test_pictures_that_are_not_read_name_what_they_are_and_what_to_convert_them_to() -> None:
    icon = refusal_of(still(photo(32, 32), "ICO"))
    heic = refusal_of(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100))
    assert "icon" in icon.reason
    assert "HEIC" in heic.reason
    assert "JPEG" in icon.remedy
    assert "JPEG" in heic.remedy


def test_a_beginning_that_tells_nothing_is_left_to_the_content_model() -> None:
    assert kind_of(b"some words of no particular format " * 20) is None


def test_markup_inside_a_picture_does_not_make_it_a_page() -> None:
    info = Image.Exif()
    info[0x010E] = "<html><svg>"
    assert kind_of(still(photo(), "JPEG", exif=info)) == sniff.JPEG


def test_the_content_model_proposes_media_and_refuses_the_rest() -> None:
    assert kind_of_label("mpegts", "MPEG transport stream") == sniff.MPEG_TS
    with pytest.raises(MediumRefusedError, match="Python source"):
        kind_of_label("python", "Python source")
    with pytest.raises(MediumRefusedError) as caught:
        kind_of_label("unknown", "")
    assert caught.value.code == "unknown_type"
