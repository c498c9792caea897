"""How a medium is cut: cores that tile it, and a context that reaches into the neighbours.

All arithmetic is in whole microseconds, so that the same medium is cut the same way everywhere.
"""

from dataclasses import dataclass

from aima_common.contracts.media import Segment

PLAN_VERSION = 1
"""Part of every segment's id; raise it when the cutting below changes."""

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class SegmentPlan:
    """One way of cutting, in microseconds."""

    core: int = 60 * MICROSECONDS
    shortest_remainder: int = 10 * MICROSECONDS
    """A shorter last stretch joins its predecessor."""
    sound_context: int = 15 * MICROSECONDS
    """A spoken sentence that crosses a border lies whole in the context of one side."""
    thumbnail_context: int = 2 * MICROSECONDS
    """At least 25 pictures of any film with 12.5 pictures a second or more: half a window of TransNetV2."""


DEFAULT_SEGMENT_PLAN = SegmentPlan()


@dataclass(frozen=True)
class Stretch:
    """A half-open interval of media time, in microseconds."""

    start: int
    end: int


def segment_count(plan: SegmentPlan, duration: int) -> int:
    """Count the segments of a medium of this duration in microseconds; there is always one."""
    whole, remainder = divmod(duration, plan.core)
    return max(1, whole + (remainder >= plan.shortest_remainder))


def core_of(plan: SegmentPlan, index: int, duration: int | None) -> Stretch:
    """Give the core of a segment.

    With `duration` None the end is not known yet, and the medium is known to reach at least
    `goes_on_at` of this segment: the core is a whole one.
    """
    start = index * plan.core
    if duration is not None and index == segment_count(plan, duration) - 1:
        return Stretch(start, max(duration, start + 1))
    return Stretch(start, start + plan.core)


def goes_on_at(plan: SegmentPlan, index: int) -> int:
    """Tell which moment a medium must reach for this segment not to be its last."""
    return (index + 1) * plan.core + plan.shortest_remainder


def around(core: Stretch, context: int, duration: int | None) -> Stretch:
    """Widen a core by a context, within the medium."""
    end = core.end + context
    return Stretch(max(0, core.start - context), end if duration is None else min(end, max(duration, core.end)))


def as_segment(plan: SegmentPlan, index: int, core: Stretch, duration: int | None) -> Segment:
    """State a segment in seconds, with the widest context that its derivatives use."""
    context = around(core, plan.sound_context, duration)
    return Segment(
        index=index,
        core_start=core.start / MICROSECONDS,
        core_end=core.end / MICROSECONDS,
        context_start=context.start / MICROSECONDS,
        context_end=context.end / MICROSECONDS,
    )
