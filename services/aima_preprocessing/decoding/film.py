"""Moving pictures: decoded once, in order, into thumbnails of every frame and two pictures a second."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av.error
import numpy as np
from av.codec.context import ThreadType
from av.stream import Discard
from PIL import Image

from aima_common.contracts.derivatives import Frame, Thumbnails, pack_frames, pack_thumbnails
from aima_preprocessing import limits as bounds
from aima_preprocessing.decoding.pictures import FRAME_QUALITY, FrameShaper, Pixels, PosterChooser, encode_jpeg
from aima_preprocessing.decoding.source import NamelessFile, open_container
from aima_preprocessing.limits import Limits
from aima_preprocessing.segmentation import MICROSECONDS, Stretch
from aima_preprocessing.sniff import Kind

SAMPLING_STEP = MICROSECONDS // 2
"""Two pictures a second: the first frame of every half second of media time."""

_SEEK_FURTHER = tuple(seconds * MICROSECONDS for seconds in (0, 10, 60, 300))
_ASSUMED_FRAME = MICROSECONDS // 25


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame with its time and length, in microseconds from the start of the medium."""

    time: int
    length: int
    frame: Any


class FrameSource:
    """Gives the frames of one stream in the order in which they are seen."""

    def __init__(self, file: NamelessFile, kind: Kind, stream_index: int, origin: int, threads: int) -> None:
        """Open the stream; `origin` is the container's start time in microseconds."""
        self._file, self._kind, self._index, self._threads = file, kind, stream_index, threads
        self._origin = origin
        self.damaged = False
        """Something could not be decoded since this was last set to False."""
        self._open()
        rate = self.stream.average_rate
        self._usual_length = round(MICROSECONDS / rate) if rate else _ASSUMED_FRAME

    def _open(self) -> None:
        self._container = open_container(self._file.beside(), self._kind)
        self.stream = only_stream(self._container, self._index)
        self.stream.codec_context.thread_count = self._threads
        self.stream.codec_context.thread_type = ThreadType.FRAME if self._threads > 1 else ThreadType.NONE

    def frames_from(self, moment: int) -> Iterator[TimedFrame]:
        """Give frames from a key frame at or before `moment` on, exactly as a decoding from the start has them.

        Seeking is only trusted as far as it can be checked: when the frame it leads to is no key frame,
        or lies behind `moment`, a point further back is tried, and in the end the start.
        """
        for distance in _SEEK_FURTHER:
            if moment - distance <= 0:
                break
            frames = self._sought(moment - distance)
            first = next(frames, None)
            if first is not None and first.time <= moment:
                return itertools.chain((first,), frames)
        if moment > 0:
            self.close()
            self._open()
        return self._frames()

    def _sought(self, moment: int) -> Iterator[TimedFrame]:
        base = self.stream.time_base
        try:
            self._container.seek(int((moment + self._origin) / MICROSECONDS / base), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            return iter(())
        return itertools.dropwhile(lambda timed: not timed.frame.key_frame, self._frames())

    def _frames(self) -> Iterator[TimedFrame]:
        """Give the frames from the present position on, leaving out what cannot be decoded or has no place in time."""
        latest = -1
        for frame in self._decoded():
            time = self._time_of(frame, latest)
            if time < 0 or time <= latest:
                self.damaged = self.damaged or 0 <= time < latest
                continue
            latest = time
            yield TimedFrame(time, self._length_of(frame), frame)

    def _decoded(self) -> Iterator[Any]:
        for outcome in decode_all(self._container, self.stream):
            if outcome is None:
                self.damaged = True
            else:
                yield outcome

    def _time_of(self, frame: Any, latest: int) -> int:
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is None:
            return max(latest, 0) + self._usual_length if latest >= 0 else 0
        return to_microseconds(stamp, frame.time_base) - self._origin

    def _length_of(self, frame: Any) -> int:
        length = to_microseconds(frame.duration, frame.time_base) if frame.duration else 0
        return length or self._usual_length

    def close(self) -> None:
        self._container.close()


def only_stream(container: Any, index: int) -> Any:
    """Have the demuxer pass over all streams but one, and give that one."""
    for stream in container.streams:
        stream.discard = Discard.default if stream.index == index else Discard.all
    return container.streams[index]


def decode_all(container: Any, stream: Any) -> Iterator[Any]:
    """Give every frame that can be decoded, and None wherever something was lost."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError) as error:
            _reraise_memory(error)
            yield None
            yield from _decode(stream.codec_context.decode, None)
            return
        if packet is None:
            return
        if packet.is_corrupt:
            yield None
        yield from _decode(stream.codec_context.decode, packet)


def _decode(decode: Callable[[Any], list[Any]], packet: Any) -> Iterator[Any]:
    try:
        frames = decode(packet)
    except av.error.EOFError:
        return
    except (av.error.FFmpegError, ValueError) as error:
        _reraise_memory(error)
        yield None
        return
    for frame in frames:
        if frame.is_corrupt:
            yield None
        yield frame


def _reraise_memory(error: Exception) -> None:
    if isinstance(error, MemoryError):
        raise error


def to_microseconds(stamp: int, base: Fraction) -> int:
    """Convert a time stamp, rounding to the nearest microsecond without floating point."""
    scaled = stamp * base.numerator * MICROSECONDS
    return (2 * scaled + base.denominator) // (2 * base.denominator)


class Damage:
    """Remembers, to the second, where something could not be decoded."""

    def __init__(self) -> None:
        self._seconds: set[int] = set()

    def note(self, moment: int) -> None:
        self._seconds.add(max(moment, 0) // MICROSECONDS)

    def lies_in(self, stretch: Stretch) -> bool:
        return any(stretch.start <= second * MICROSECONDS < stretch.end for second in self._seconds)


class FilmTrack:
    """The derivatives of moving pictures, made while decoding goes forward; holds about one segment."""

    def __init__(self, source: FrameSource, limits: Limits, poster: PosterChooser | None, *, animation: bool) -> None:
        self._source = source
        self._limits = limits
        self._animation = animation
        aspect = source.stream.sample_aspect_ratio or Fraction(1)
        self._shaper = FrameShaper(aspect)
        self._poster = poster
        self._frames: Iterator[TimedFrame] = iter(())
        self._thumbnails: deque[tuple[int, Pixels]] = deque()
        self._pictures: deque[tuple[int, bytes]] = deque()
        self._damage = Damage()
        self._slot = -1
        self._count = 0
        self._second = (-1, 0)
        self._unfolded_bytes = 0
        self._from = 0
        self.reached = -1
        """Time of the latest frame, in microseconds; everything before it is in."""
        self.end = 0
        """End of the latest frame."""
        self.ended = False
        self.turned = False
        """The film was taken with the camera on its side."""

    @property
    def count(self) -> int:
        """Tell how many frames were decoded."""
        return self._count

    def start(self, moment: int, keep_from: int) -> None:
        """Begin at or before `moment`; thumbnails and pictures before `keep_from` are not kept."""
        self._frames = self._source.frames_from(moment)
        self._from = keep_from

    def advance(self, moment: int | None) -> None:
        """Decode until every frame before `moment` is in; None for all there are."""
        while not self.ended and (moment is None or self.reached < moment):
            timed = next(self._frames, None)
            if timed is None:
                self.ended = True
            else:
                self._take_in(timed)
            if self._source.damaged:
                self._source.damaged = False
                self._damage.note(self.reached)

    def _take_in(self, timed: TimedFrame) -> None:
        self._check(timed)
        self.turned = self._shaper.is_turned(timed.frame)
        self.reached, self.end = timed.time, timed.time + timed.length
        slot = timed.time // SAMPLING_STEP
        is_first_of_slot, self._slot = slot != self._slot, slot
        if timed.time < self._from:
            return
        thumbnail = self._shaper.thumbnail(timed.frame)
        self._thumbnails.append((timed.time, thumbnail))
        if is_first_of_slot:
            jpeg = encode_jpeg(Image.fromarray(self._shaper.picture(timed.frame)), FRAME_QUALITY)
            self._pictures.append((timed.time, jpeg))
            if self._poster is not None and self._poster.wants(timed.time):
                self._poster.offer(jpeg, thumbnail)

    def _check(self, timed: TimedFrame) -> None:
        """Count what the headers only claimed."""
        self._count += 1
        bounds.check_frames(self._limits, self._count)
        bounds.check_duration(self._limits, timed.time / MICROSECONDS)
        bounds.check_picture(self._limits, timed.frame.width, timed.frame.height)
        second, seen = self._second
        now = timed.time // MICROSECONDS
        self._second = (now, seen + 1 if now == second else 1)
        bounds.check_frame_rate(self._limits, self._second[1])
        if self._animation:
            self._unfolded_bytes += timed.frame.width * timed.frame.height * 4
            bounds.check_animation(self._limits, self._unfolded_bytes)

    def frames_object(self, core: Stretch) -> bytes:
        """Give the pictures of a core, and forget them."""
        chosen = []
        while self._pictures and self._pictures[0][0] < core.end:
            time, jpeg = self._pictures.popleft()
            if time >= core.start:
                chosen.append(Frame(time / MICROSECONDS, jpeg))
        return pack_frames(chosen)

    def thumbnails_object(self, context: Stretch, keep_from: int) -> bytes:
        """Give the thumbnails of a stretch, and forget those before `keep_from`."""
        chosen = [(time, pixels) for time, pixels in self._thumbnails if context.start <= time < context.end]
        while self._thumbnails and self._thumbnails[0][0] < keep_from:
            self._thumbnails.popleft()
        times = np.array([time / MICROSECONDS for time, _ in chosen], dtype=np.float64)
        pixels = np.stack([pixels for _, pixels in chosen]) if chosen else np.empty((0, 27, 48, 3), np.uint8)
        return pack_thumbnails(Thumbnails(pixels, times))

    def damaged_in(self, core: Stretch) -> bool:
        """Tell whether frames of this stretch could not be decoded."""
        return self._damage.lies_in(core)
