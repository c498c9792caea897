"""How large, long and expensive a medium may be.

Every limit is applied twice: to what a header claims, before decoding, and to what decoding yields,
by counting. A refusal names the limit.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

from aima_preprocessing.refusals import LimitExceededError

_REFERENCE_PIXELS_PER_SECOND = 1920 * 1080 * 30
"""Full HD at 30 pictures a second: the film that the time allowances are stated for."""


@dataclass(frozen=True)
class Limits:
    """The operator's limits. Start values: issue "bad input" and OWASP ASVS 5.0, 5.2."""

    upload_bytes: int = 5 * 1024**3
    video_pixels: int = 7680 * 4320
    """Pixels of one picture of a film."""
    still_pixels: int = 64_000_000
    animation_bytes: int = 4 * 1024**3
    """Unfolded pictures of an animated GIF, at 4 bytes a pixel."""
    frames: int = 2_000_000
    duration_seconds: float = 12 * 3600.0
    streams: int = 8
    """Streams with pictures or sound; subtitles and fonts do not count."""
    channels: int = 8
    frames_per_second: float = 240.0
    starting_seconds: float = 30.0
    """For opening, probing and the first picture, on the clock and of the processor; a still gets no more."""
    wall_seconds_per_media_minute: float = 60.0
    cpu_seconds_per_media_minute: float = 120.0
    derivative_bytes: int = 64 * 1024**3
    message_bytes: int = 512 * 1024**2
    """The derivatives of one segment, or of one still, together."""
    memory_bytes: int = 2 * 1024**3
    """Address space of the decoding process."""

    def as_dict(self) -> dict[str, Any]:
        """Give the limits in a form that travels."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `as_dict` gave."""
        return cls(**values)


def check_upload_size(limits: Limits, size_bytes: int) -> None:
    if size_bytes > limits.upload_bytes:
        raise LimitExceededError(
            "upload_bytes", f"the file has {size_bytes} bytes, at most {limits.upload_bytes} are taken"
        )


def check_still(limits: Limits, width: int, height: int) -> None:
    if width * height > limits.still_pixels:
        raise LimitExceededError(
            "still_pixels",
            f"the picture measures {width} x {height}, that is {width * height / 1e6:.0f} megapixels; "
            f"at most {limits.still_pixels / 1e6:.0f} are taken",
        )


def check_picture(limits: Limits, width: int, height: int) -> None:
    if width * height > limits.video_pixels:
        raise LimitExceededError(
            "video_pixels",
            f"the film measures {width} x {height}; at most {limits.video_pixels / 1e6:.0f} megapixels are taken",
        )


def check_duration(limits: Limits, seconds: float) -> None:
    if seconds > limits.duration_seconds:
        raise LimitExceededError(
            "duration_seconds", f"the medium lasts {seconds:.0f} s; at most {limits.duration_seconds:.0f} s are taken"
        )


def check_frame_rate(limits: Limits, frames_per_second: float) -> None:
    if frames_per_second > limits.frames_per_second:
        raise LimitExceededError(
            "frames_per_second",
            f"the film has {frames_per_second:.0f} pictures a second; at most {limits.frames_per_second:.0f} are taken",
        )


def check_streams(limits: Limits, streams: int) -> None:
    if streams > limits.streams:
        raise LimitExceededError(
            "streams", f"the container holds {streams} streams of picture and sound; at most {limits.streams} are taken"
        )


def check_channels(limits: Limits, channels: int) -> None:
    if channels > limits.channels:
        raise LimitExceededError("channels", f"the sound has {channels} channels; at most {limits.channels} are taken")


def check_frames(limits: Limits, frames: int) -> None:
    if frames > limits.frames:
        raise LimitExceededError("frames", f"the film has more than {limits.frames} pictures")


def check_animation(limits: Limits, unfolded_bytes: int) -> None:
    if unfolded_bytes > limits.animation_bytes:
        raise LimitExceededError(
            "animation_bytes",
            f"the animation unfolds to more than {limits.animation_bytes / 1024**3:.1f} GiB of pictures",
        )


def check_derivatives(limits: Limits, made_bytes: int) -> None:
    if made_bytes > limits.derivative_bytes:
        raise LimitExceededError(
            "derivative_bytes", f"the derivatives grew beyond {limits.derivative_bytes / 1024**3:.0f} GiB"
        )


@dataclass(frozen=True)
class Allowance:
    """How long the decoder may work until it has something to show, in seconds."""

    wall_seconds: float
    cpu_seconds: float


def starting_allowance(limits: Limits) -> Allowance:
    """Grant time for the beginning of a medium."""
    return Allowance(limits.starting_seconds, limits.starting_seconds)


def allowance(limits: Limits, media_seconds: float, pixels_per_second: float) -> Allowance:
    """Grant time for a stretch of a medium, in proportion to its length and, above Full HD, to its pixels."""
    weight = max(1.0, pixels_per_second / _REFERENCE_PIXELS_PER_SECOND) * media_seconds / 60
    return Allowance(
        wall_seconds=limits.starting_seconds + limits.wall_seconds_per_media_minute * weight,
        cpu_seconds=limits.starting_seconds + limits.cpu_seconds_per_media_minute * weight,
    )
