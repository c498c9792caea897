"""Recordings: one voice, cut, padded and encoded."""

import io
import math
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Voice:
    """One channel of 16-bit samples, at `rate` samples a second."""

    samples: Samples
    rate: int

    @classmethod
    def from_wav(cls, content: bytes) -> "Voice":
        """Read a one-channel 16-bit WAV file; raise ValueError for any other."""
        with wave.open(io.BytesIO(content)) as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise ValueError("only 16-bit sound of one channel is read here")
            return cls(np.frombuffer(file.readframes(file.getnframes()), dtype="<i2"), file.getframerate())

    @property
    def duration_seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def padded(self, silence_seconds: float, duration_seconds: float) -> "Voice":
        """Begin after some silence and last exactly as long as asked; nothing may be cut off."""
        before, length = round(silence_seconds * self.rate), round(duration_seconds * self.rate)
        if before + len(self.samples) > length:
            raise ValueError(f"{self.duration_seconds} s of speech do not fit into {duration_seconds} s")
        samples = np.zeros(length, dtype=np.int16)
        samples[before : before + len(self.samples)] = self.samples
        return Voice(samples, self.rate)

    def frame(self, start_seconds: int, end_seconds: int) -> av.AudioFrame:
        """Give a stretch, clipped to what there is, for an encoder."""
        start = start_seconds * self.rate
        part = self.samples[start : end_seconds * self.rate]
        frame = av.AudioFrame.from_ndarray(part.reshape(1, -1).copy(), format="s16", layout="mono")
        frame.sample_rate = self.rate
        frame.pts = start
        return frame


def write_opus(path: Path, voice: Voice, bits_per_second: int) -> None:
    """Encode a voice as Opus in Ogg; the same arguments give the same bytes on the same machine."""
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream("libopus", rate=voice.rate, layout="mono", bit_rate=bits_per_second)
        for second in range(math.ceil(voice.duration_seconds)):
            output.mux(stream.encode(voice.frame(second, second + 1)))
        output.mux(stream.encode(None))
