"""Sound: decoded from the beginning, laid on the time line of the medium, 16 kHz mono, kept as FLAC.

It is always decoded from the beginning, also when work is resumed in the middle: decoders of sound carry
state (bit reservoirs, filters, noise generators) that a seek loses, and a resumed segment must have the
very same samples. Decoding an hour of sound takes seconds.
"""

import io
from collections import deque
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from aima_preprocessing import limits as bounds
from aima_preprocessing.decoding.film import Damage, decode_all, only_stream, to_microseconds
from aima_preprocessing.decoding.source import NamelessFile, open_container, open_writer
from aima_preprocessing.limits import Limits
from aima_preprocessing.segmentation import MICROSECONDS, Stretch
from aima_preprocessing.sniff import Kind

SAMPLE_RATE = 16_000
_TOLERATED_DRIFT = SAMPLE_RATE // 25
"""40 ms: smaller differences between time stamps and samples are rounding of the container."""

_CHUNK = SAMPLE_RATE

Samples = npt.NDArray[np.int16]


def to_sample(moment: int) -> int:
    """Give the sample that sounds at a moment in microseconds."""
    return (moment * SAMPLE_RATE + MICROSECONDS // 2) // MICROSECONDS


class SampleSource:
    """Gives the samples of one stream, without gap or overlap, from moment 0 of the medium on."""

    def __init__(self, file: NamelessFile, kind: Kind, stream_index: int, origin: int, limits: Limits) -> None:
        self._container = open_container(file.beside(), kind)
        self._origin = origin
        self._limits = limits
        self.damaged = False
        self._stream = only_stream(self._container, stream_index)
        self._stream.codec_context.thread_count = 1
        self._resampler: Any = None
        self._format: tuple[Any, ...] = ()
        self._given = 0

    def chunks(self) -> Iterator[Samples]:
        """Give the samples in chunks of at most a second."""
        for frame in self._decoded():
            yield from self._flushed_if_format_changed(frame)
            late_by = self._late_by(frame)
            if late_by < -_TOLERATED_DRIFT:
                continue  # time stamps run back: this was heard already
            if late_by > _TOLERATED_DRIFT:
                yield from self._silence_until(self._given + self._pending + late_by)
            yield from self._resampled(frame)
        yield from self._resampled(None)

    def _decoded(self) -> Iterator[Any]:
        for outcome in decode_all(self._container, self._stream):
            if outcome is None:
                self.damaged = True
            else:
                yield outcome

    def _flushed_if_format_changed(self, frame: Any) -> Iterator[Samples]:
        found = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
        if found != self._format:
            bounds.check_channels(self._limits, frame.layout.nb_channels)
            yield from self._resampled(None)
            self._format = found

    @property
    def _pending(self) -> int:
        return self._resampler.pending if self._resampler is not None else 0

    def _late_by(self, frame: Any) -> int:
        """Tell how many samples are missing between what was given and this frame."""
        if frame.pts is None:
            return 0
        time = to_microseconds(frame.pts, frame.time_base) - self._origin
        bounds.check_duration(self._limits, time / MICROSECONDS)
        return to_sample(max(time, 0)) - self._given - self._pending

    def _silence_until(self, sample: int) -> Iterator[Samples]:
        """Fill a hole in the time line."""
        yield from self._resampled(None)
        while self._given < sample:
            yield self._counted(np.zeros(min(sample - self._given, _CHUNK), np.int16))

    def _resampled(self, frame: Any | None) -> Iterator[Samples]:
        """Resample a frame; with None, give what the resampler still holds and forget it."""
        if frame is None:
            if self._resampler is not None:
                resampler, self._resampler = self._resampler, None
                yield from map(self._counted, resampler.push(None))
            return
        if self._resampler is None:
            self._resampler = _Resampler(frame.sample_rate)
        for samples in self._resampler.push(frame):
            bounds.check_duration(self._limits, self._given / SAMPLE_RATE)
            yield self._counted(samples)

    def _counted(self, samples: Samples) -> Samples:
        self._given += len(samples)
        return samples

    def close(self) -> None:
        self._container.close()


class _Resampler:
    """Sample rate conversion of one unbroken run of samples."""

    def __init__(self, rate: int) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._rate = rate
        self._in = 0
        self._out = 0

    @property
    def pending(self) -> int:
        """Tell how many samples are in the filter."""
        return self._in * SAMPLE_RATE // self._rate - self._out

    def push(self, frame: Any | None) -> list[Samples]:
        if frame is not None:
            frame.pts = None  # places in time are counted here, not by the resampler
            self._in += frame.samples
        made = [out.to_ndarray().reshape(-1).astype(np.int16, copy=False) for out in self._resampler.resample(frame)]
        self._out += sum(map(len, made))
        return made


class SoundTrack:
    """The sound of a medium as far as it was decoded; holds about one segment."""

    def __init__(self, source: SampleSource, keep_from: int) -> None:
        """`keep_from` is the moment, in microseconds, before which samples are not kept."""
        self._source = source
        self._chunks = source.chunks()
        self._held: deque[tuple[int, Samples]] = deque()
        self._keep_from = to_sample(keep_from)
        self._position = 0
        self._damage = Damage()
        self.ended = False

    @property
    def count(self) -> int:
        """Tell how many samples were decoded."""
        return self._position

    @property
    def reached(self) -> int:
        """Tell up to which moment everything is in, in microseconds."""
        return self._position * MICROSECONDS // SAMPLE_RATE

    end = reached

    def advance(self, moment: int | None) -> None:
        """Decode until every sample before `moment` is in; None for all there are."""
        while not self.ended and (moment is None or self.reached < moment):
            samples = next(self._chunks, None)
            if samples is None:
                self.ended = True
            else:
                if self._position + len(samples) > self._keep_from:
                    self._held.append((self._position, samples))
                self._position += len(samples)
            if self._source.damaged:
                self._source.damaged = False
                self._damage.note(self.reached)

    def flac(self, context: Stretch, keep_from: int) -> bytes:
        """Give the sound of a stretch, silence where there is none, and forget what lies before `keep_from`."""
        first, last = to_sample(context.start), to_sample(context.end)
        joined = np.zeros(max(1, last - first), np.int16)
        for position, samples in self._held:
            low, high = max(first, position), min(last, position + len(samples))
            if low < high:
                joined[low - first : high - first] = samples[low - position : high - position]
        self._keep_from = to_sample(keep_from)
        while self._held and self._held[0][0] + len(self._held[0][1]) <= self._keep_from:
            self._held.popleft()
        return encode_flac(joined)

    def damaged_in(self, core: Stretch) -> bool:
        """Tell whether sound of this stretch could not be decoded."""
        return self._damage.lies_in(core)


def encode_flac(samples: Samples) -> bytes:
    """Encode 16 kHz mono samples, the same bytes for the same samples."""
    buffer = io.BytesIO()
    with open_writer(buffer, "flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono", format="s16")
        stream.codec_context.thread_count = 1
        for start in range(0, len(samples), _CHUNK):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + _CHUNK], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
