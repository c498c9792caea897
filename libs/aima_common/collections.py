"""Collections of documents: who writes them, what states they know, and which fields can be searched."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Collection:
    """A collection has one owner; everybody else reads, or asks by message (model.md, "Who writes")."""

    name: str
    owner: str
    states: tuple[str, ...]
    indexes: tuple[str, ...] = ()
    """Dotted body fields that `find` may filter and order by, besides tenant and state: those with many values."""
    unique: tuple[tuple[str, ...], ...] = ()
    ordered: tuple[tuple[str, ...], ...] = ()
    """Fields that are searched together: by the first and the state, then by the others in this order."""
    some: tuple[tuple[str, ...], ...] = ()
    """The same, of those documents alone that have something in the last of these fields."""
    history: bool = True
    """Whether every transition leaves a line; not where numbers change every second and nobody asks how they did."""


JOB_STATES = ("ready", "leased", "done", "dead", "cancelled", "parked", "unschedulable", "unavailable")
JOB_TERMINAL = ("done", "dead", "cancelled", "unschedulable", "unavailable")
RUN_STATES = ("accepted", "preparing", "analysing", "fusing", "analysed", "rejected", "failed", "cancelled", "erased")
RUN_TERMINAL = ("analysed", "rejected", "failed", "cancelled", "erased")

COLLECTIONS: tuple[Collection, ...] = (
    Collection("cases", "upload", ("open", "cancelled"), ("name", "created_at"), history=False),
    Collection("uploads", "upload", ("open", "complete", "aborted"), ("case", "idempotency_key"), history=False),
    # What a tenant uploaded on a day is counted by when it was accepted.
    Collection("items", "upload", ("accepted", "cancelled", "erased"), ("case", "medium", "ordinal", "accepted_at")),
    Collection("media", "upload", ("stored", "erased"), ("sha256",)),
    Collection("arrivals", "upload", ("waiting", "taken", "rejected", "erased"), ("medium",)),
    Collection("preparations", "preprocessing", ("preparing", "prepared", "rejected", "erased"), ("medium",)),
    Collection("runs", "scheduler", RUN_STATES, ("medium", "accepted_at")),
    Collection(
        "jobs",
        "the service of the job's kind",
        JOB_STATES,
        ("medium", "submitted_at"),
        # However many wait, these are found at once: what is on a machine, and of what is on none the oldest ready jobs
        # of a kind and class, the oldest of each tenant and of each analyzer, and those whose deadline is nearest; with
        # those that rest behind all that do not. And of those that rest the ones whose rest ends first, of any kind.
        ordered=(
            ("kind", "machine", "priority", "resting_until", "submitted_at", "id", "lane"),
            ("kind", "machine", "priority", "resting_until", "tenant", "submitted_at", "id"),
            ("kind", "machine", "priority", "resting_until", "analyzer", "submitted_at", "id"),
        ),
        some=(("kind", "machine", "priority", "resting_until", "deadline"), ("machine", "resting_until")),
    ),
    Collection("analyzers", "analysis", ("available", "unavailable"), ("capability",)),
    Collection("pictures", "fusion", ("gathering", "complete", "erased"), ("medium",)),
    Collection("relations", "fusion", ("near_duplicate", "erased"), ("medium", "other")),
    Collection("entities", "fusion", ("current", "erased"), ("kind", "name", "ordinal")),
    Collection("appearances", "fusion", ("seen",), ("entity", "medium")),
    Collection("ordinals", "fusion", ("open",), history=False),
    Collection("dossiers", "dossier", ("empty", "current", "erased"), ("case",)),
    Collection("news", "dossier", ("open", "covered"), ("case",), history=False),
    Collection("corrections", "dossier", ("made",), ("medium",)),
    Collection("locations", "storage", ("present", "quarantined", "missing", "erased"), ("medium", "kind")),
    Collection("erasures", "storage", ("requested", "erased"), ("medium",)),
    Collection("machines", "gpu_manager", ("available", "away"), ("seen_at",), history=False),
    Collection("rollups", "monitoring", ("open", "whole"), ("window",)),
    Collection("audits", "monitoring", ("clean", "violated"), ("at",)),
    Collection("keys", "gateway", ("active", "revoked"), ("digest",), unique=(("digest",),)),
    Collection("idempotency", "gateway", ("running", "answered"), ("expires_at",)),
    Collection("counters", "gateway", ("open",), history=False),
    Collection("tenants", "gateway", ("open",)),
    Collection("notices", "gateway", ("told",), ("case", "medium")),
    Collection("webhooks", "gateway", ("active", "disabled")),
    Collection("deliveries", "gateway", ("waiting", "delivered", "given_up"), ("webhook", "due_at", "ended_at")),
    Collection("leaderships", "whoever leads", ("open",), history=False),
    Collection("installations", "every process", ("open",), history=False),
    Collection("attempts", "every service", ("open",), (), history=False),
    Collection(
        "dead_letters", "every service", ("open", "retried", "discarded"), ("reason", "service", "at", "medium")
    ),
)

BY_NAME = {collection.name: collection for collection in COLLECTIONS}
