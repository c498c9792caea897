"""Makes long films out of one round of the demo's film, without encoding it again; only the maker imports this."""

import heapq
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from aima_demo.case import MEDIA_FOLDER, recipe
from aima_demo.film import write_film
from aima_demo.making import FILM, make_case, sole_maker
from aima_demo.sound import Voice
from aima_demo.sources import Progress, bring_photos, bring_voices, cache_folder
from aima_demo.storyboard import FRAMES_PER_SECOND, lay_out

PROGRESS_PACKETS = 2000

Template = VideoStream | AudioStream


def make_long_film(path: Path, seconds: float, frames_per_second: int, progress: Progress) -> None:
    """Write a film of at least `seconds`; it appears under its name when it is whole."""
    source = _one_round(frames_per_second, progress)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".making-", suffix=".mp4")
    os.close(descriptor)
    try:
        _repeat(source, Path(draft), seconds, progress)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def _one_round(frames_per_second: int, progress: Progress) -> Path:
    if frames_per_second == FRAMES_PER_SECOND:
        case = cache_folder() / f"case-{recipe()}"
        make_case(case, progress)
        return case / MEDIA_FOLDER / FILM
    path = cache_folder() / f"round-{recipe()}-{frames_per_second}.mp4"
    with sole_maker():
        if not path.exists():
            voice = Voice.from_wav(bring_voices()["two_cities.wav"])
            photos = bring_photos(cache_folder(), progress)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as temporary:
                draft = Path(temporary) / path.name
                write_film(draft, lay_out(frames_per_second), photos, voice, progress)
                draft.rename(path)
    return path


@dataclass(frozen=True)
class _Piece:
    """An encoded stretch of one stream, with times in ticks of the stream."""

    shown: int
    decoded: int
    lasts: int
    is_keyframe: bool
    content: bytes

    @classmethod
    def from_packet(cls, packet: "Packet[Any]") -> "_Piece":
        if packet.pts is None or packet.dts is None or packet.duration is None:
            raise ValueError("the round of the film has a packet without a time")
        return cls(packet.pts, packet.dts, packet.duration, packet.is_keyframe, bytes(packet))


class _Track:
    """One stream of the round, to be given out again and again with later times."""

    def __init__(self, stream: Template, packets: Iterable["Packet[Any]"]) -> None:
        self.stream = stream
        self.tick = stream.time_base or Fraction(1)
        pieces = [_Piece.from_packet(packet) for packet in packets if packet.size]
        # An encoder's priming lies before time 0; between rounds it would be a gap.
        self._pieces = [piece for piece in pieces if piece.shown >= 0]
        first = min(piece.shown for piece in self._pieces)
        self._length = max(piece.shown + piece.lasts for piece in self._pieces) - first

    def packets(self, output: Template, seconds: float) -> Iterator[tuple[float, "Packet[Any]"]]:
        """Give whole rounds, in the order of decoding, until `seconds` are full."""
        for start in range(0, math.ceil(seconds / self.tick), self._length):
            for piece in self._pieces:
                packet: Packet[Any] = Packet(piece.content)
                packet.stream, packet.time_base = output, self.tick
                packet.pts, packet.dts, packet.duration = piece.shown + start, piece.decoded + start, piece.lasts
                packet.is_keyframe = piece.is_keyframe
                yield float((piece.decoded + start) * self.tick), packet


def _repeat(source: Path, draft: Path, seconds: float, progress: Progress) -> None:
    with (
        av.open(str(source)) as pictures,
        av.open(str(source)) as sound,
        av.open(str(draft), "w", format="mp4") as film,
    ):
        tracks = (
            _Track(pictures.streams.video[0], pictures.demux(video=0)),
            _Track(sound.streams.audio[0], sound.demux(audio=0)),
        )
        outputs = [film.add_stream_from_template(track.stream) for track in tracks]
        timed = [track.packets(output, seconds) for track, output in zip(tracks, outputs, strict=True)]
        for number, (time, packet) in enumerate(heapq.merge(*timed, key=itemgetter(0))):
            film.mux_one(packet)
            if number % PROGRESS_PACKETS == 0:
                progress("repeat the film", int(min(max(time, 0), seconds)), int(seconds))
    progress("repeat the film", int(seconds), int(seconds))
