"""The spine as a page that people read: a picture of the path, and the table of topics."""

from aima_common.contracts.asyncapi import first_sentence
from aima_common.contracts.outside import INGRESS, RESULTS, Notice, Offer
from aima_common.contracts.topics import TOPICS, Topic

LISTENERS = ("monitoring", "gateway")
"""They hear nearly everything; arrows to them would hide the path."""

BESIDE = (
    "aima.erasure.",
    "aima.part.",
    "aima.medium.erased",
    "aima.case.",
    "aima.cancel.",
    "aima.correction.",
    "aima.preparation.requested",
    "aima.medium.readmitted",
    "aima.capacity.",
)
"""What people or machines cause beside the path; drawn in a picture of its own."""

HOUR = 3600


def page() -> str:
    """Write the page as Markdown with two Mermaid pictures."""
    path = [topic for topic in TOPICS if not topic.name.startswith(BESIDE)]
    beside = [topic for topic in TOPICS if topic.name.startswith(BESIDE)]
    return "\n".join(
        [
            "# What the services say to each other",
            "",
            "Made by `make contracts` from `aima_common.contracts.topics`; do not edit.",
            f"{' and '.join(LISTENERS).capitalize()} hear nearly everything and are left out of the pictures.",
            "",
            "## The path of a medium",
            "",
            *_drawn(path),
            "",
            "## Beside the path",
            "",
            *_drawn(beside),
            "",
            "## Topics",
            "",
            "| topic | message | means | said by | heard by | key | partitions | kept |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(topic) for topic in TOPICS),
            "",
            "## Those outside",
            "",
            "Every tenant has two topics more; [asyncapi.json](asyncapi.json) describes them, with examples.",
            "",
            "| topic | message | means | said by | heard by | key |",
            "|---|---|---|---|---|---|",
            f"| `{INGRESS}.<tenant>` | `Offer` | {first_sentence(Offer)} | producers | upload | their choice |",
            f"| `{RESULTS}.<tenant>` | `Notice` | {first_sentence(Notice)} | gateway | its tenant | item or case |",
            "",
        ]
    )


def _drawn(topics: list[Topic]) -> list[str]:
    said: dict[tuple[str, str], list[str]] = {}
    for topic in topics:
        for consumer in topic.consumers:
            if consumer not in LISTENERS:
                said.setdefault((topic.producer.replace(" ", "_"), consumer), []).append(topic.message.__name__)
    arrows = [f"    {one} -- {'<br>'.join(names)} --> {other}" for (one, other), names in said.items()]
    return ["```mermaid", "flowchart LR", *arrows, "```"]


def _row(topic: Topic) -> str:
    hours = topic.retention_seconds // HOUR
    kept = f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"
    cells = (
        f"`{topic.name}.<lane>`" if topic.by_lane else f"`{topic.name}`",
        f"`{topic.message.__name__}`",
        first_sentence(topic.message),
        topic.producer,
        ", ".join(topic.consumers),
        topic.key,
        str(topic.partitions),
        kept,
    )
    return f"| {' | '.join(cells)} |"
