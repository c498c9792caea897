"""One medium from its bytes to its derivatives, as a stream of events in constant memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from av.stream import Disposition

from aima_common.contracts.media import MediumType, Probe
from aima_preprocessing import limits as bounds
from aima_preprocessing import segmentation, sniff
from aima_preprocessing.boxes import walk_boxes
from aima_preprocessing.decoding.film import FilmTrack, FrameSource
from aima_preprocessing.decoding.pictures import PosterChooser, preview
from aima_preprocessing.decoding.sound import SampleSource, SoundTrack
from aima_preprocessing.decoding.source import PICTURE_CODECS, SOUND_CODECS, NamelessFile, open_container
from aima_preprocessing.decoding.stills import decode_cover, decode_still, is_animated
from aima_preprocessing.events import Event, Finished, Probed, SegmentDecoded
from aima_preprocessing.limits import Limits
from aima_preprocessing.refusals import MediumRefusedError, truncated, undecodable
from aima_preprocessing.segmentation import MICROSECONDS, SegmentPlan

_NOTICEABLE_LOSS = MICROSECONDS
"""An end that comes this much earlier than the header claims, and 2 % of it, is worth a word."""

PictureLost = "Part of the moving picture could not be decoded."
SoundLost = "Part of the sound could not be decoded."


@dataclass(frozen=True)
class DecodePlan:
    """How a medium is to be decoded."""

    limits: Limits
    segments: SegmentPlan
    start_segment: int = 0
    threads: int = 1


Grant = Callable[[float, float], None]
"""Is told how many media seconds, of how many pixels a second, come next: the processor time for them is due."""


def decode_medium(file: NamelessFile, kind: sniff.Kind, plan: DecodePlan, grant: Grant) -> Iterator[Event]:
    """Decode a medium of a known kind; raise `MediumRefusedError` when it cannot be, or may not be."""
    if kind.family == "still":
        if kind is not sniff.GIF or not is_animated(file, kind, plan.limits):
            finished = decode_still(file, kind, plan.limits)
            yield Probed(finished.probe)
            yield finished
            return
        kind = sniff.GIF_ANIMATION
    yield from _Streams(file, kind, plan).events(grant)


class _Streams:
    """A film or recording on its way through the decoder."""

    def __init__(self, file: NamelessFile, kind: sniff.Kind, plan: DecodePlan) -> None:
        self._file, self._kind, self._plan = file, kind, plan
        self._problems: list[str] = []
        self._poster = PosterChooser()
        with open_container(file.beside(), kind) as container:
            self._origin = container.start_time or 0
            self._claimed = container.duration
            picture, sound = self._choose(container)
            self._cover = _cover(container) if picture is None else None
            self._probe = self._probed(picture, sound)
            self._picture_index = picture.index if picture is not None else None
            self._sound_index = sound.index if sound is not None else None
        self._film: FilmTrack | None = None
        self._sound: SoundTrack | None = None

    def _choose(self, container: Any) -> tuple[Any | None, Any | None]:
        """Choose the streams to decode, and check all against the limits."""
        pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        sounds = list(container.streams.audio)
        if not pictures and not sounds:
            raise MediumRefusedError(
                "no_media", f"the {self._kind.name} file holds neither picture nor sound", "Check that it is whole."
            )
        bounds.check_streams(self._plan.limits, len(pictures) + len(sounds))
        for more, what in ((pictures[1:], "picture"), (sounds[1:], "sound")):
            if more:
                self._problems.append(f"The file holds {len(more) + 1} {what} tracks; the first was analysed.")
        picture, sound = next(iter(pictures), None), next(iter(sounds), None)
        _check_codec(picture, PICTURE_CODECS, "picture")
        _check_codec(sound, SOUND_CODECS, "sound")
        return picture, sound

    def _probed(self, picture: Any | None, sound: Any | None) -> Probe:
        limits = self._plan.limits
        rate = float(picture.average_rate) if picture is not None and picture.average_rate else None
        if self._claimed is not None:
            bounds.check_duration(limits, self._claimed / MICROSECONDS)
        if picture is not None:
            bounds.check_picture(limits, picture.width, picture.height)
        if rate is not None and self._kind is not sniff.GIF_ANIMATION:
            bounds.check_frame_rate(limits, rate)
        if sound is not None:
            bounds.check_channels(limits, sound.channels)
        return Probe(
            type=MediumType.AUDIO if picture is None else MediumType.VIDEO,
            mime_type=self._kind.audio_type if picture is None else self._kind.video_type,
            container=self._kind.name,
            duration_seconds=self._claimed / MICROSECONDS if self._claimed and self._claimed > 0 else None,
            start_offset_seconds=self._origin / MICROSECONDS,
            width=picture.width if picture is not None else None,
            height=picture.height if picture is not None else None,
            frames_per_second=rate,
            video_codec=picture.codec_context.name if picture is not None else None,
            audio_codec=sound.codec_context.name if sound is not None else None,
            sample_rate=sound.sample_rate if sound is not None else None,
            channels=sound.channels if sound is not None else None,
            has_video=picture is not None,
            has_audio=sound is not None,
        )

    def events(self, grant: Grant) -> Iterator[Event]:
        """Give what the medium yields, from the plan's first segment on."""
        segments, index = self._plan.segments, self._plan.start_segment
        self._begin(index * segments.core)
        self._require_something()
        yield Probed(self._probe)
        # Sound is decoded from the beginning also when work is resumed: that stretch is granted too.
        stretch = (index + 1) * segments.core
        while True:
            grant(stretch / MICROSECONDS, self._pixels_per_second)
            duration = self._advance(index)
            if duration is not None and index >= segmentation.segment_count(segments, duration):
                break
            yield self._segment(index, duration)
            if duration is not None:
                break
            index, stretch = index + 1, segments.core
        yield self._finished(duration)

    @property
    def _pixels_per_second(self) -> float:
        return (self._probe.width or 0) * (self._probe.height or 0) * (self._probe.frames_per_second or 25.0)

    def _begin(self, start: int) -> None:
        plan = self._plan
        if self._picture_index is not None:
            if start > 0:
                # The poster comes from the first seconds, also when they were done by an earlier attempt.
                self._new_film_track(self._poster).advance(PosterChooser.CONSIDERED_MICROSECONDS)
            self._film = self._new_film_track(self._poster if start == 0 else None)
            self._film.start(start - plan.segments.thumbnail_context, start - plan.segments.thumbnail_context)
        if self._sound_index is not None:
            source = SampleSource(self._file, self._kind, self._sound_index, self._origin, plan.limits)
            self._sound = SoundTrack(source, start - plan.segments.sound_context)

    def _new_film_track(self, poster: PosterChooser | None) -> FilmTrack:
        index = self._picture_index or 0
        source = FrameSource(self._file, self._kind, index, self._origin, self._plan.threads)
        animation = self._kind is sniff.GIF_ANIMATION
        track = FilmTrack(source, self._plan.limits, poster, animation=animation)
        track.start(0, 0)
        return track

    def _require_something(self) -> None:
        """Refuse what yields neither one picture nor one sound."""
        if self._film is not None:
            self._film.advance(0)
            if self._film.turned:
                sides = {"width": self._probe.height, "height": self._probe.width}
                self._probe = self._probe.model_copy(update=sides)
        if self._sound is not None:
            self._sound.advance(1)
        if not any(track is not None and track.count for track in (self._film, self._sound)):
            self._check_wholeness()
            raise undecodable(f"it is {self._kind.name}, and not one picture and not one sound came out of it")

    def _check_wholeness(self) -> None:
        if self._kind.opener == "mov" and walk_boxes(self._file.read_at, self._file.size_bytes).missing_bytes:
            raise truncated("its index is there, and the pictures and sounds it points to are missing")

    def _advance(self, index: int) -> int | None:
        """Decode what a segment needs; give the duration of the medium once its end was seen."""
        segments = self._plan.segments
        core = segmentation.core_of(segments, index, None)
        goes_on = segmentation.goes_on_at(segments, index)
        reached = 0
        if self._sound is not None:
            self._sound.advance(core.end + segments.sound_context)
            reached = self._sound.end
        if self._film is not None:
            self._film.advance(core.end + segments.thumbnail_context)
            if max(reached, self._film.end) < goes_on:
                self._film.advance(goes_on)
            reached = max(reached, self._film.end)
        if reached >= goes_on:
            return None
        for track in (self._film, self._sound):
            if track is not None:
                track.advance(None)
        return max(track.end for track in (self._film, self._sound) if track is not None)

    def _segment(self, index: int, duration: int | None) -> SegmentDecoded:
        segments = self._plan.segments
        core = segmentation.core_of(segments, index, duration)
        frames = thumbnails = sound = None
        problems = []
        if self._film is not None:
            frames = self._film.frames_object(core)
            around = segmentation.around(core, segments.thumbnail_context, duration)
            thumbnails = self._film.thumbnails_object(around, core.end - segments.thumbnail_context)
            if self._film.damaged_in(core):
                problems.append(PictureLost)
        if self._sound is not None:
            around = segmentation.around(core, segments.sound_context, duration)
            sound = self._sound.flac(around, core.end - segments.sound_context)
            if self._sound.damaged_in(core):
                problems.append(SoundLost)
        stated = segmentation.as_segment(segments, index, core, duration)
        return SegmentDecoded(stated, frames, thumbnails, sound, tuple(problems))

    def _finished(self, duration: int) -> Finished:
        claimed = self._claimed or 0
        if claimed - duration > max(_NOTICEABLE_LOSS, claimed // 50):
            self._problems.append(
                f"The file is cut off: it announces {claimed / MICROSECONDS:.0f} s "
                f"and holds {duration / MICROSECONDS:.0f} s."
            )
        poster = self._poster.best or self._cover_picture()
        seen = preview(poster) if poster is not None else None
        return Finished(
            self._probe.model_copy(update={"duration_seconds": duration / MICROSECONDS}),
            segmentation.segment_count(self._plan.segments, duration),
            seen.poster if seen else None,
            seen.thumbnail if seen else None,
            seen.perceptual_hash if seen else None,
            tuple(self._problems),
        )

    def _cover_picture(self) -> bytes | None:
        if self._cover is None:
            return None
        try:
            return decode_cover(self._cover, self._plan.limits)
        except MediumRefusedError:
            self._problems.append("The cover picture could not be decoded.")
            return None


def _check_codec(stream: Any | None, known: list[str], what: str) -> None:
    name = stream.codec_context.name if stream is not None and stream.codec_context is not None else None
    if stream is not None and name not in known:
        raise MediumRefusedError(
            "unsupported_codec",
            f"the {what} is coded as {name or 'something unknown'}, which is not decoded here",
            "Convert the file to MP4 with H.264 and AAC.",
        )


def _cover(container: Any) -> bytes | None:
    """Give the bytes of the cover picture of a recording."""
    for stream in container.streams.video:
        for packet in container.demux(stream):
            return bytes(packet) if packet.size else None
    return None
