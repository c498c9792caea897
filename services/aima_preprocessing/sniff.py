"""What a file is, by its first bytes: never by its name, and never by asking a decoder to guess.

The answer names the one demuxer or picture plug-in that may open the file. What can refer to other
files or addresses, carry scripts, or unpack is refused by name.
"""

from dataclasses import dataclass
from typing import Literal

import filetype

from aima_preprocessing.refusals import MediumRefusedError

HEAD_BYTES = 8192
"""How much of a file's beginning is looked at."""


@dataclass(frozen=True)
class Kind:
    """A kind of file that AIMA analyses."""

    name: str
    family: Literal["still", "stream"]
    opener: str
    """The demuxer's short name in FFmpeg (stream), or the plug-in's name in Pillow (still)."""
    video_type: str = ""
    """MIME type when it holds moving pictures."""
    audio_type: str = ""
    """MIME type when it holds sound alone."""
    image_type: str = ""


def _still(name: str, opener: str, mime: str) -> Kind:
    return Kind(name, "still", opener, image_type=mime)


def _stream(name: str, opener: str, video: str, audio: str) -> Kind:
    return Kind(name, "stream", opener, video_type=video, audio_type=audio)


MP4 = _stream("mp4", "mov", "video/mp4", "audio/mp4")
QUICKTIME = _stream("mov", "mov", "video/quicktime", "audio/mp4")
MATROSKA = _stream("matroska", "matroska", "video/x-matroska", "audio/x-matroska")
WEBM = _stream("webm", "matroska", "video/webm", "audio/webm")
AVI = _stream("avi", "avi", "video/x-msvideo", "audio/x-msvideo")
FLV = _stream("flv", "flv", "video/x-flv", "audio/x-flv")
MPEG_TS = _stream("mpegts", "mpegts", "video/mp2t", "audio/mp2t")
MPEG_PS = _stream("mpeg", "mpeg", "video/mpeg", "audio/mpeg")
OGG = _stream("ogg", "ogg", "video/ogg", "audio/ogg")
MP3 = _stream("mp3", "mp3", "audio/mpeg", "audio/mpeg")
AAC = _stream("aac", "aac", "audio/aac", "audio/aac")
WAV = _stream("wav", "wav", "audio/wav", "audio/wav")
FLAC = _stream("flac", "flac", "audio/flac", "audio/flac")
AIFF = _stream("aiff", "aiff", "audio/aiff", "audio/aiff")
GIF_ANIMATION = _stream("gif", "gif", "image/gif", "image/gif")
JPEG = _still("jpeg", "JPEG", "image/jpeg")
PNG = _still("png", "PNG", "image/png")
WEBP = _still("webp", "WEBP", "image/webp")
GIF = _still("gif", "GIF", "image/gif")
BMP = _still("bmp", "BMP", "image/bmp")
TIFF = _still("tiff", "TIFF", "image/tiff")
AVIF = _still("avif", "AVIF", "image/avif")

_BY_MIME: dict[str, Kind] = {
    "video/mp4": MP4,
    "video/x-m4v": MP4,
    "video/3gpp": MP4,
    "audio/mp4": MP4,
    "video/quicktime": QUICKTIME,
    "video/x-matroska": MATROSKA,
    "video/webm": WEBM,
    "video/x-msvideo": AVI,
    "video/x-flv": FLV,
    "audio/ogg": OGG,
    "audio/mpeg": MP3,
    "audio/aac": AAC,
    "audio/x-wav": WAV,
    "audio/x-flac": FLAC,
    "audio/x-aiff": AIFF,
    "image/jpeg": JPEG,
    "image/png": PNG,
    "image/apng": PNG,
    "image/webp": WEBP,
    "image/gif": GIF,
    "image/bmp": BMP,
    "image/tiff": TIFF,
    "image/avif": AVIF,
}

_BY_LABEL: dict[str, Kind] = {"mp3": MP3, "aac": AAC, "mpegts": MPEG_TS, "mp4": MP4, "ogg": OGG, "flv": FLV}
"""Labels of the content model that are worth a try; the full parse decides."""

_FORMATS = (
    "Send video as MP4, MOV, MKV, WebM, AVI or MPEG-TS, sound as MP3, M4A, OGG, WAV or FLAC, "
    "pictures as JPEG, PNG or WebP"
)
_PLAYLIST = "it only points at other files. Send the files themselves"
_DOCUMENT = "documents are not analysed. Send the pages as pictures (PNG or JPEG)"
_PICTURE = "this picture format is not read. Convert it to JPEG or PNG"
_FILM = "this film format is not read. Convert it to MP4 (H.264 and AAC)"
_PAGE = "a page is not the picture or film that it shows. Save the picture or film itself and send that"
_ARCHIVE = "archives are not unpacked. Unpack it and send the media inside"
_TEXT = "text and programs are not analysed. Check that the right file was chosen"

_REFUSED_MIMES: dict[str, tuple[str, str]] = {
    "image/heic": ("a HEIC picture", _PICTURE),
    "image/jpx": ("a JPEG 2000 picture", _PICTURE),
    "image/x-canon-cr2": ("a Canon raw picture", _PICTURE),
    "image/vnd.ms-photo": ("a JPEG XR picture", _PICTURE),
    "image/vnd.adobe.photoshop": ("a Photoshop document", _PICTURE),
    "image/x-icon": ("an icon", _PICTURE),
    "image/x-xcf": ("a GIMP document", _PICTURE),
    "image/vnd.dwg": ("a CAD drawing", _PICTURE),
    "application/dicom": ("a DICOM picture", _PICTURE),
    "video/x-ms-wmv": ("a Windows Media film", _FILM),
    "audio/midi": ("a MIDI score", "it holds notes, not sound. Render it to WAV or MP3"),
    "audio/amr": ("an AMR recording", "this sound format is not read. Convert it to MP3, M4A or WAV"),
    "application/pdf": ("a PDF document", _DOCUMENT),
    "application/rtf": ("a rich text document", _DOCUMENT),
    "application/postscript": ("a PostScript document", _DOCUMENT),
}

_BEGINNINGS: tuple[tuple[bytes, str, str, str], ...] = (
    (b"#extm3u", "playlist", "a playlist (M3U8)", _PLAYLIST),
    (b"[playlist]", "playlist", "a playlist (PLS)", _PLAYLIST),
    (b"<asx", "playlist", "a playlist (ASX)", _PLAYLIST),
    (b"<smil", "playlist", "a playlist (SMIL)", _PLAYLIST),
    (b"ffconcat version", "concat_script", "a list of files to join (concat script)", _PLAYLIST),
    (b"file '", "concat_script", "a list of files to join (concat script)", _PLAYLIST),
    (b"v=0", "session_description", "a description of a live stream (SDP)", _PLAYLIST),
    (b"%!ps", "document", "a PostScript document", _DOCUMENT),
    (b"%pdf-", "document", "a PDF document", _DOCUMENT),
    (b"{\\rtf", "document", "a rich text document", _DOCUMENT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document", "an office document", _DOCUMENT),
    (b"#!", "text", "a script", _TEXT),
    (b"\x7felf", "program", "a program", _TEXT),
    (b"mz", "program", "a Windows program", _TEXT),
    (b"pk\x03\x04", "archive", "a ZIP archive or an office document", _ARCHIVE),
    (b"webvtt", "text", "subtitles", _TEXT),
)

_MARKS: tuple[tuple[bytes, str, str, str], ...] = (
    (b"<mpd", "playlist", "a streaming manifest (DASH)", _PLAYLIST),
    (b"<smoothstreamingmedia", "playlist", "a streaming manifest", _PLAYLIST),
    (b"<svg", "svg", "an SVG drawing", "it can carry scripts and addresses. Export it as PNG and send that"),
    (b"<!doctype html", "html", "a web page (HTML)", _PAGE),
    (b"<html", "html", "a web page (HTML)", _PAGE),
    (b"<?xml", "text", "an XML document", _TEXT),
)


def sniff(head: bytes, size_bytes: int) -> Kind | None:
    """Tell what a file is from its first `HEAD_BYTES` bytes, or None when its beginning is not telling.

    Raises `MediumRefusedError` for what is never taken.
    """
    if size_bytes == 0:
        raise MediumRefusedError("empty", "the file is empty (0 bytes)", "Send the file again; the copy holds nothing.")
    _refuse_text(head)
    _refuse_archives(head)
    mime = filetype.guess_mime(head)
    if mime in _BY_MIME:
        return _BY_MIME[mime]
    if mime in _REFUSED_MIMES:
        raise _refusal("unsupported", *_REFUSED_MIMES[mime])
    own = _own_signatures(head)
    if own is None and mime is not None:
        raise _refusal("unsupported", f"of type {mime}", "this type is not analysed")
    return own


def kind_of_label(label: str, description: str) -> Kind:
    """Turn what the content model says of a file without a telling beginning into a kind to try.

    Raises `MediumRefusedError` when the label is no medium.
    """
    kind = _BY_LABEL.get(label)
    if kind is not None:
        return kind
    if label in {"unknown", "undefined", "empty", ""}:
        raise MediumRefusedError("unknown_type", "the file is of no known type", f"{_FORMATS}.")
    raise MediumRefusedError("not_media", f"the file is not a medium but looks like: {description}", f"{_FORMATS}.")


def _refusal(code: str, what: str, why: str) -> MediumRefusedError:
    reason, _, remedy = why.partition(". ")
    return MediumRefusedError(
        code, f"the file is {what}, and {reason}", f"{remedy[:1].upper()}{remedy[1:] or _FORMATS}."
    )


def _refuse_text(head: bytes) -> None:
    text = _as_text(head)
    for beginning, code, what, why in _BEGINNINGS:
        if text.startswith(beginning):
            raise _refusal(code, what, why)
    if not text.startswith(b"<") or b"\x00" in text[:512]:
        return
    for mark, code, what, why in _MARKS:
        if mark in text:
            raise _refusal(code, what, why)


def _as_text(head: bytes) -> bytes:
    """Give the beginning in lower case, in UTF-8, without byte-order mark and leading blanks."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        wide = head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
        return wide.encode().strip().lower()
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def _refuse_archives(head: bytes) -> None:
    """Refuse what is packed, before anything could unpack it."""
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x28\xb5\x2f\xfd")):
        raise _refusal("archive", "a packed archive", _ARCHIVE)


_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def _own_signatures(head: bytes) -> Kind | None:
    """Recognise what `filetype` does not know."""
    if head[4:8] in _BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
            raise _refusal("unsupported", *_REFUSED_MIMES["image/heic"])
        return QUICKTIME if head[4:8] != b"ftyp" or head[8:12] == b"qt  " else MP4
    if head.startswith(b"\x00\x00\x01\xba"):
        return MPEG_PS
    if _is_transport_stream(head):
        return MPEG_TS
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return AAC
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 in {0xE2, 0xE4} and head[2] & 0xF0 != 0xF0:
        return MP3
    return None


def _is_transport_stream(head: bytes) -> bool:
    """Look for the sync byte at packet distance, plain (188) or with arrival times in front (192)."""
    for packet, offset in ((188, 0), (192, 4)):
        marks = head[offset::packet][:5]
        if len(marks) == 5 and marks == b"\x47" * 5:
            return True
    return False
