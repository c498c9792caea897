"""The spine: which message travels on which topic, from whom, to whom, and for how long.

Topic creation, AsyncAPI and the picture in the documents are made from this table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.media import MediumType

DAY = 24 * 3600

WIDE = 24
"""Partitions of what preprocessing hears: it grows to 20 replicas (spec, "Scaling manager")."""


LANES: tuple[str, ...] = tuple(MediumType)
"""The lanes of analysis, each with a topic, workers and scaling of its own (spec 3)."""


@dataclass(frozen=True)
class Topic:
    """A row of the spine. Every topic is keyed by medium id, or by case id where it says so."""

    message: type[Message]
    name: str
    producer: str
    consumers: tuple[str, ...]
    key: str = "medium"
    partitions: int = 12
    """At least the largest number of replicas of any consumer."""
    retention_seconds: int = 7 * DAY
    by_lane: bool = False
    """Whether each lane has a topic of its own, `<name>.<lane>`; the message has a field `lane`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The topics that there are of this row."""
        return tuple(f"{self.name}.{lane}" for lane in LANES) if self.by_lane else (self.name,)

    def name_for(self, message: Message) -> str:
        """Tell on which topic a message travels."""
        lane = getattr(message, "lane", None)
        return f"{self.name}.{lane}" if self.by_lane else self.name


TOPICS: tuple[Topic, ...] = (
    Topic(
        m.MediumUploaded,
        "aima.medium.uploaded",
        "upload",
        ("preprocessing", "scheduler", "storage", "monitoring", "gateway"),
        partitions=WIDE,
    ),
    Topic(m.OfferRejected, "aima.offer.rejected", "upload", ("monitoring", "gateway"), key="offer"),
    Topic(m.MediumRejected, "aima.medium.rejected", "preprocessing", ("scheduler", "monitoring", "gateway")),
    Topic(
        m.PreparationRequested,
        "aima.preparation.requested",
        "gateway",
        ("preprocessing", "monitoring"),
        partitions=WIDE,
    ),
    Topic(m.MediumReadmitted, "aima.medium.readmitted", "preprocessing", ("scheduler", "monitoring", "gateway")),
    Topic(m.SegmentPrepared, "aima.segment.prepared", "preprocessing", ("scheduler", "monitoring", "gateway")),
    Topic(m.MediumPrepared, "aima.medium.prepared", "preprocessing", ("scheduler", "storage", "monitoring", "gateway")),
    Topic(m.AnalysisPlanned, "aima.analysis.planned", "scheduler", ("fusion", "monitoring", "gateway")),
    Topic(
        m.AnalysisRequested, "aima.analysis.requested", "scheduler", ("analysis",), retention_seconds=DAY, by_lane=True
    ),
    Topic(m.AnalysisCompleted, "aima.analysis.completed", "analysis", ("scheduler", "fusion", "monitoring", "gateway")),
    Topic(m.AnalysisFailed, "aima.analysis.failed", "analysis", ("scheduler", "monitoring")),
    Topic(m.AnalysisAbandoned, "aima.analysis.abandoned", "scheduler", ("fusion", "monitoring", "gateway")),
    Topic(m.PictureUpdated, "aima.picture.updated", "fusion", ("monitoring", "gateway")),
    Topic(m.PictureCompleted, "aima.picture.completed", "fusion", ("scheduler", "monitoring", "gateway")),
    Topic(m.DossierPublished, "aima.dossier.published", "dossier", ("storage", "monitoring", "gateway"), key="case"),
    Topic(m.NoticeGiven, "aima.notice.given", "gateway", ("gateway",), key="subject", retention_seconds=DAY),
    Topic(m.CaseChanged, "aima.case.changed", "upload", ("scheduler", "monitoring"), key="case"),
    Topic(
        m.CancelRequested,
        "aima.cancel.requested",
        "gateway",
        ("upload", "scheduler", "monitoring"),
        key="case",
        partitions=WIDE,
    ),
    Topic(m.CorrectionMade, "aima.correction.made", "gateway", ("dossier", "monitoring")),
    Topic(
        m.ErasureRequested,
        "aima.erasure.requested",
        "gateway",
        ("upload", "preprocessing", "scheduler", "fusion", "dossier", "storage", "monitoring"),
        partitions=WIDE,
    ),
    Topic(m.PartErased, "aima.part.erased", "every owner", ("storage", "monitoring")),
    Topic(m.MediumErased, "aima.medium.erased", "storage", ("dossier", "monitoring", "gateway")),
    Topic(
        m.CapacityRequested,
        "aima.capacity.requested",
        "scheduler",
        ("gpu_manager", "monitoring"),
        key="machine",
        partitions=1,
    ),
    Topic(
        m.CapacityChanged,
        "aima.capacity.changed",
        "gpu_manager",
        ("scheduler", "monitoring"),
        key="machine",
        partitions=1,
    ),
    Topic(
        m.ProgressMade, "aima.progress.made", "scheduler", ("dossier", "monitoring", "gateway"), retention_seconds=DAY
    ),
    Topic(m.ScalingAdvised, "aima.scaling.advised", "monitoring", ("gateway",), key="service", partitions=1),
    Topic(m.ViolationFound, "aima.violation.found", "monitoring", ("gateway",), key="subject", partitions=1),
)

BY_MESSAGE: dict[type[Message], Topic] = {topic.message: topic for topic in TOPICS}


def groups(
    service: str, messages: Iterable[type[Message]] | None = None, lanes: Iterable[str] = LANES
) -> Mapping[str, list[str]]:
    """Tell in which consumer groups a service hears which topics.

    One group has the service's name. What comes by lane is heard in a group for each lane, `<service>-<lane>`, so
    that lanes grow and rebalance on their own. Without `messages`, everything that is meant for the service.
    """
    rows = heard_by(service) if messages is None else [BY_MESSAGE[message] for message in messages]
    heard: dict[str, list[str]] = {}
    for row in rows:
        if not row.by_lane:
            heard.setdefault(service, []).append(row.name)
            continue
        for lane in lanes:
            heard.setdefault(f"{service}-{lane}", []).append(f"{row.name}.{lane}")
    return heard


def all_groups() -> Mapping[str, list[str]]:
    """List every consumer group with its topics."""
    services = sorted({service for topic in TOPICS for service in topic.consumers})
    return {group: names for service in services for group, names in groups(service).items()}


def heard_by(service: str) -> tuple[Topic, ...]:
    """List the topics that a service consumes."""
    return tuple(topic for topic in TOPICS if service in topic.consumers)
