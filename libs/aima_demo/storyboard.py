"""What the film shows, when, and how the camera moves; pure."""

from dataclasses import dataclass

from aima_demo.answers import Title

WIDTH, HEIGHT = 1280, 720
FRAMES_PER_SECOND = 25
SPEECH_START_SECONDS = 1.0
DISSOLVE_SECONDS = 1.0


@dataclass(frozen=True)
class View:
    """Where the camera looks: the middle, as fractions of the picture, and how close it is (1: all of a side)."""

    x: float
    y: float
    zoom: float


@dataclass(frozen=True)
class Shot:
    """A picture under a slowly moving camera, with words over it."""

    picture: str
    """A photo's name, or a colour `#rrggbb` for a card that holds nothing but words."""
    title: str
    seconds: float
    start: View
    end: View
    dissolves_into_next: bool = False

    @property
    def is_card(self) -> bool:
        """Whether there is no photo."""
        return self.picture.startswith("#")


STILL = View(0.5, 0.5, 1.0)
SHOTS = (
    Shot("#1d6f8a", "Six Pictures and a Voice", 3.2, STILL, STILL),
    Shot("rocket.jpg", "The Rocket before Dawn", 6.4, View(0.5, 0.62, 1.05), View(0.5, 0.55, 1.2)),
    Shot("chelsea.png", "Chelsea the Cat", 6.4, View(0.42, 0.45, 1.2), View(0.5, 0.5, 1.05)),
    Shot("coffee.png", "Coffee on a Table", 6.4, View(0.45, 0.4, 1.05), View(0.55, 0.5, 1.2)),
    Shot("motorcycle_left.png", "Red Motorcycle", 6.4, View(0.4, 0.5, 1.2), View(0.6, 0.5, 1.2)),
    Shot("astronaut.png", "Portrait of an Astronaut", 6.8, View(0.5, 0.3, 1.0), View(0.47, 0.3, 1.12), True),
    Shot("hubble_deep_field.jpg", "The Deep Field", 6.8, View(0.5, 0.5, 1.2), View(0.5, 0.5, 1.0)),
    Shot("#f2e3c0", "Thank You for Watching", 3.68, STILL, STILL),
)


@dataclass(frozen=True)
class Span:
    """A shot with its place in the film, in frames; `first` is shown, `end` is not any more."""

    shot: Shot
    first: int
    end: int


@dataclass(frozen=True)
class Timeline:
    """The film laid out in frames."""

    frames_per_second: int
    spans: tuple[Span, ...]

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return self.spans[-1].end

    @property
    def duration_seconds(self) -> float:
        """How long the film is."""
        return self.frames / self.frames_per_second

    @property
    def cuts_seconds(self) -> tuple[float, ...]:
        """When each hard cut's new shot is first seen."""
        pairs = zip(self.spans, self.spans[1:], strict=False)
        return tuple(
            after.first / self.frames_per_second for before, after in pairs if not before.shot.dissolves_into_next
        )

    @property
    def dissolve_seconds(self) -> tuple[float, float]:
        """When the first mixed frame and the first unmixed one after it are shown."""
        (span,) = (span for span in self.spans if span.shot.dissolves_into_next)
        half = self._half_dissolve
        return (span.end - half) / self.frames_per_second, (span.end + half) / self.frames_per_second

    @property
    def titles(self) -> tuple[Title, ...]:
        """Which words are to be read when; during the dissolve they blend into each other."""
        return tuple(
            Title(span.shot.title, first / self.frames_per_second, end / self.frames_per_second)
            for span in self.spans
            for first, end in [self._title_frames(span)]
        )

    def _title_frames(self, span: Span) -> tuple[int, int]:
        """Tell the first frame with the span's whole title and the first without it."""
        half = self._half_dissolve
        index = self.spans.index(span)
        comes_from_dissolve = index > 0 and self.spans[index - 1].shot.dissolves_into_next
        return (
            span.first + (half if comes_from_dissolve else 0),
            span.end - (half if span.shot.dissolves_into_next else 0),
        )

    def layers(self, frame: int) -> list[tuple[Span, float]]:
        """Tell which shots make up a frame, with their shares, which sum to 1."""
        for index, span in enumerate(self.spans):
            if frame < span.end:
                return self._blend(index, frame)
        raise ValueError(f"the film has {self.frames} frames; there is no frame {frame}")

    def _blend(self, index: int, frame: int) -> list[tuple[Span, float]]:
        half, span = self._half_dissolve, self.spans[index]
        if span.shot.dissolves_into_next and frame >= span.end - half:
            share = (frame - (span.end - half) + 1) / (2 * half + 1)
            return [(span, 1 - share), (self.spans[index + 1], share)]
        before = self.spans[index - 1] if index else None
        if before is not None and before.shot.dissolves_into_next and frame < span.first + half:
            share = (frame - (span.first - half) + 1) / (2 * half + 1)
            return [(before, 1 - share), (span, share)]
        return [(span, 1.0)]

    @property
    def _half_dissolve(self) -> int:
        return round(DISSOLVE_SECONDS * self.frames_per_second / 2)


def lay_out(frames_per_second: int = FRAMES_PER_SECOND) -> Timeline:
    """Place the shots one after the other on whole frames."""
    spans: list[Span] = []
    first = 0
    for shot in SHOTS:
        end = first + round(shot.seconds * frames_per_second)
        spans.append(Span(shot, first, end))
        first = end
    return Timeline(frames_per_second, tuple(spans))


def view_at(span: Span, frame: int) -> View:
    """Tell where the camera looks; it goes on moving while a dissolve shows a shot beyond its span."""
    part = (frame - span.first) / (span.end - span.first)
    part = part * part * (3 - 2 * part) if 0 <= part <= 1 else part
    start, end = span.shot.start, span.shot.end

    def between(one: float, other: float) -> float:
        return one + (other - one) * max(-0.1, min(1.1, part))

    return View(between(start.x, end.x), between(start.y, end.y), between(start.zoom, end.zoom))
