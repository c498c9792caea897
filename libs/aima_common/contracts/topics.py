"""The spine: which message travels on which topic, from whom, to whom, and for how long.

Topic creation, AsyncAPI and the picture in the documents are made from this table.
"""

from dataclasses import dataclass

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message

DAY = 24 * 3600

WIDE = 24
"""Partitions of what preprocessing hears: it grows to 20 replicas (spec, "Scaling manager")."""


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


TOPICS: tuple[Topic, ...] = (
    Topic(
        m.MediumUploaded,
        "aima.medium.uploaded",
        "upload",
        ("preprocessing", "scheduler", "storage", "monitoring", "gateway"),
        partitions=WIDE,
    ),
    Topic(m.MediumRejected, "aima.medium.rejected", "preprocessing", ("scheduler", "monitoring", "gateway")),
    Topic(m.SegmentPrepared, "aima.segment.prepared", "preprocessing", ("scheduler", "monitoring", "gateway")),
    Topic(m.MediumPrepared, "aima.medium.prepared", "preprocessing", ("scheduler", "storage", "monitoring", "gateway")),
    Topic(m.AnalysisPlanned, "aima.analysis.planned", "scheduler", ("fusion", "monitoring", "gateway")),
    Topic(m.AnalysisRequested, "aima.analysis.requested", "scheduler", ("analysis",), retention_seconds=DAY),
    Topic(m.AnalysisCompleted, "aima.analysis.completed", "analysis", ("scheduler", "fusion", "monitoring", "gateway")),
    Topic(m.AnalysisFailed, "aima.analysis.failed", "analysis", ("scheduler", "monitoring")),
    Topic(m.AnalysisAbandoned, "aima.analysis.abandoned", "scheduler", ("fusion", "monitoring", "gateway")),
    Topic(m.PictureUpdated, "aima.picture.updated", "fusion", ("monitoring", "gateway")),
    Topic(m.PictureCompleted, "aima.picture.completed", "fusion", ("scheduler", "monitoring", "gateway")),
    Topic(m.DossierPublished, "aima.dossier.published", "dossier", ("storage", "monitoring", "gateway"), key="case"),
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


def heard_by(service: str) -> tuple[Topic, ...]:
    """List the topics that a service consumes."""
    return tuple(topic for topic in TOPICS if service in topic.consumers)
