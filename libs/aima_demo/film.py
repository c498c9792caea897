"""Renders the film: photos under a moving camera, words over them, a voice beside them.

Only the process that makes the demo imports this: OpenCV and FFmpeg are heavy.
"""

import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from aima_demo.sound import Voice
from aima_demo.sources import Progress
from aima_demo.storyboard import HEIGHT, SPEECH_START_SECONDS, WIDTH, Shot, Span, Timeline, View, view_at

Pixels = npt.NDArray[np.uint8]

TITLE_PIXELS = 60
TITLE_MARGIN = 28
BAND_TOP = 590
"""Where the dark band under a title begins, in pixels from above."""
BAND_OPACITY = 0.8
QUALITY = "23"
"""x264's constant rate factor, its default: no visible loss."""
VIDEO_THREADS = 2
"""Fixed, since x264's output depends on it."""
KEYFRAME_SECONDS = 2
SOUND_BITS_PER_SECOND = 192_000
"""Generous for one voice: speech recognition hears what people do not."""
PROGRESS_FRAMES = 25


class Overlay:
    """Words, ready to be laid over any frame."""

    def __init__(self, shot: Shot) -> None:
        image = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        font = ImageFont.load_default(size=TITLE_PIXELS)
        if shot.is_card:
            self._top, self._bottom = HEIGHT // 2 - TITLE_PIXELS, HEIGHT // 2 + TITLE_PIXELS
            dark = sum(colour_of(shot)) > 3 * 128
            fill = (20, 20, 20, 255) if dark else (255, 255, 255, 255)
            draw.text((WIDTH // 2, HEIGHT // 2), shot.title, font=font, fill=fill, anchor="mm")
        else:
            self._top, self._bottom = BAND_TOP, HEIGHT
            draw.rectangle((0, BAND_TOP, WIDTH, HEIGHT), fill=(0, 0, 0, round(255 * BAND_OPACITY)))
            middle = (BAND_TOP + HEIGHT) // 2
            draw.text((2 * TITLE_MARGIN, middle), shot.title, font=font, fill=(255, 255, 255, 255), anchor="lm")
        band = np.asarray(image, dtype=np.uint16)[self._top : self._bottom]
        # In 256ths: 0 and 255 become 0 and 256, so that nothing and everything stay exact.
        opacity = band[:, :, 3:] + (band[:, :, 3:] >> 7)
        self._added = band[:, :, :3] * opacity
        self._kept = 256 - opacity

    def lay_over(self, frame: Pixels) -> None:
        """Change the frame in place."""
        band = frame[self._top : self._bottom]
        band[:] = (band * self._kept + self._added) >> 8


class Camera:
    """Looks at the storyboard's pictures."""

    def __init__(self, timeline: Timeline, photos: Mapping[str, bytes]) -> None:
        self._timeline = timeline
        self._pictures = {span.shot.picture: load_picture(span.shot, photos) for span in timeline.spans}
        self._overlays = {span.shot.title: Overlay(span.shot) for span in timeline.spans}

    def frames(self) -> Iterator[Pixels]:
        """Render every frame of the film."""
        cv2.setNumThreads(1)
        for number in range(self._timeline.frames):
            yield self._frame(number)

    def _frame(self, number: int) -> Pixels:
        (span, _), *others = self._timeline.layers(number)
        frame = self._look(span, number)
        for other, share in others:
            mixed = cv2.addWeighted(frame, 1 - share, self._look(other, number), share, 0)
            frame = np.asarray(mixed, dtype=np.uint8)
        return frame

    def _look(self, span: Span, number: int) -> Pixels:
        seen = look(self._pictures[span.shot.picture], view_at(span, number))
        self._overlays[span.shot.title].lay_over(seen)
        return seen


def colour_of(shot: Shot) -> tuple[int, int, int]:
    """Read a card's colour."""
    value = shot.picture.lstrip("#")
    return int(value[0:2], 16), int(value[2:4], 16), int(value[4:6], 16)


def load_picture(shot: Shot, photos: Mapping[str, bytes]) -> Pixels:
    """Give a photo's pixels, or a card that is a little lighter above than below."""
    if not shot.is_card:
        return np.asarray(Image.open(io.BytesIO(photos[shot.picture])).convert("RGB"), dtype=np.uint8)
    light = np.linspace(1.0, 0.85, HEIGHT)[:, None, None]
    return np.broadcast_to(np.array(colour_of(shot)) * light, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def look(picture: Pixels, view: View) -> Pixels:
    """Give what the camera sees: the window is moved back into the picture where it would leave it."""
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height) * view.zoom
    seen_width, seen_height = WIDTH / scale, HEIGHT / scale
    left = min(max(view.x * width - seen_width / 2, 0), width - seen_width)
    top = min(max(view.y * height - seen_height / 2, 0), height - seen_height)
    half = 0.5 / scale - 0.5
    to_picture = np.array([[1 / scale, 0, left + half], [0, 1 / scale, top + half]])
    seen = cv2.warpAffine(
        picture,
        to_picture,
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(seen, dtype=np.uint8)


def write_film(path: Path, timeline: Timeline, photos: Mapping[str, bytes], voice: Voice, progress: Progress) -> None:
    """Render and encode the film: MP4, H.264 and AAC, index at the end.

    The same arguments give the same bytes on the same machine.
    """
    track = voice.padded(SPEECH_START_SECONDS, timeline.duration_seconds)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=timeline.frames_per_second)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.time_base = Fraction(1, timeline.frames_per_second)
        video.codec_context.thread_count = VIDEO_THREADS
        video.codec_context.gop_size = KEYFRAME_SECONDS * timeline.frames_per_second
        video.options = {"preset": "veryfast", "crf": QUALITY}
        sound = container.add_stream("aac", rate=track.rate, layout="mono", bit_rate=SOUND_BITS_PER_SECOND)
        for number, pixels in enumerate(Camera(timeline, photos).frames()):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
            if number % timeline.frames_per_second == 0:
                second = number // timeline.frames_per_second
                container.mux(sound.encode(track.frame(second, second + 1)))
            if number % PROGRESS_FRAMES == 0:
                progress("render the film", number, timeline.frames)
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    progress("render the film", timeline.frames, timeline.frames)
