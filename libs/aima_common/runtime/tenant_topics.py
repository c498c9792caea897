"""The topics that every tenant has for those outside."""

from aima_common.contracts.outside import PARTITIONS, ingress_topic, results_topic
from aima_common.contracts.topics import DAY
from aima_common.ports.bus import TopicSpecification

KEPT_DAYS = 7
"""How long an offer waits for an AIMA that is away."""


def tenant_topics(tenant: str) -> list[TopicSpecification]:
    """Specify a tenant's topics: what comes in is kept for a while, of what goes out the newest of each key."""
    return [
        TopicSpecification(ingress_topic(tenant), PARTITIONS, KEPT_DAYS * DAY),
        TopicSpecification(results_topic(tenant), PARTITIONS, compacted=True),
    ]
