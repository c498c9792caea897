"""The file to decode: a descriptor without a name, and the only way in which it is opened."""

import io
import os
from typing import Any

import av
import av.error

from aima_preprocessing.boxes import walk_boxes
from aima_preprocessing.refusals import MediumRefusedError, truncated, undecodable
from aima_preprocessing.sniff import Kind

_BUFFER_BYTES = 256 * 1024
_MOST_STREAMS = "64"
"""Fonts, subtitles and chapters included; those that are decoded are limited much lower."""

PICTURE_CODECS = [
    "h264",
    "hevc",
    "av1",
    "libdav1d",
    "vp8",
    "vp9",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "msmpeg4",
    "msmpeg4v2",
    "h263",
    "flv",
    "vp6",
    "vp6a",
    "vp6f",
    "theora",
    "mjpeg",
    "prores",
    "dnxhd",
    "gif",
    "png",
    "wmv1",
    "wmv2",
    "ffv1",
    "huffyuv",
    "dvvideo",
    "cinepak",
    "svq3",
]
SOUND_CODECS = [
    "aac",
    "aac_latm",
    "mp3",
    "mp3float",
    "mp2",
    "mp2float",
    "mp1float",
    "ac3",
    "eac3",
    "opus",
    "libopus",
    "vorbis",
    "flac",
    "alac",
    "wmav1",
    "wmav2",
    "amrnb",
    "amrwb",
    "speex",
    "nellymoser",
    "adpcm_ima_wav",
    "adpcm_ima_qt",
    "adpcm_ms",
    "adpcm_swf",
    "pcm_s8",
    "pcm_u8",
    "pcm_s16le",
    "pcm_s16be",
    "pcm_u16le",
    "pcm_s24le",
    "pcm_s24be",
    "pcm_s32le",
    "pcm_s32be",
    "pcm_f32le",
    "pcm_f32be",
    "pcm_f64le",
    "pcm_f64be",
    "pcm_alaw",
    "pcm_mulaw",
    "pcm_dvd",
    "pcm_bluray",
]


class NamelessFile(io.RawIOBase):
    """A read-only file over a descriptor, with a position of its own and no name.

    Several of them can read the same descriptor side by side.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._offset = 0
        self.size_bytes = os.lseek(descriptor, 0, os.SEEK_END)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the present position; 0 at the end."""
        count = os.preadv(self._descriptor, [buffer], self._offset)
        self._offset += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self.size_bytes}[whence]
        self._offset = max(0, base + offset)
        return self._offset

    def tell(self) -> int:
        return self._offset

    def read_at(self, length: int, offset: int) -> bytes:
        """Read without moving; fewer bytes at the end."""
        return os.pread(self._descriptor, length, offset)

    def beside(self) -> "NamelessFile":
        """Give another file over the same bytes, at their beginning."""
        return NamelessFile(self._descriptor)


def open_container(file: NamelessFile, kind: Kind) -> Any:
    """Open a film or recording with the one demuxer that its first bytes call for.

    The demuxer is forced *and* the only one on the white-list, so that nothing nested in the file
    can bring in another. Raises `MediumRefusedError` when that demuxer cannot read it.
    """
    try:
        return av.open(
            file,
            mode="r",
            format=kind.opener,
            container_options={
                "format_whitelist": kind.opener,
                "codec_whitelist": ",".join(PICTURE_CODECS + SOUND_CODECS),
                "protocol_whitelist": "",
                "max_streams": _MOST_STREAMS,
            },
            metadata_errors="replace",
            buffer_size=_BUFFER_BYTES,
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _why_not(file, kind) from error


def _why_not(file: NamelessFile, kind: Kind) -> MediumRefusedError:
    if kind.opener == "mov":
        walk = walk_boxes(file.read_at, file.size_bytes)
        if not walk.has_index:
            return truncated("its index (the `moov` box) is missing, without which no picture can be found")
    return undecodable(f"it begins like {kind.name} and cannot be read as such")


def open_writer(buffer: io.BytesIO, container_format: str) -> Any:
    """Open a container to write derivatives into memory, the same bytes for the same content."""
    return av.open(buffer, mode="w", format=container_format, container_options={"fflags": "+bitexact"})
