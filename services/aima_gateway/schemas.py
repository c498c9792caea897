"""The shapes of requests and answers, as JSON Schema 2020-12. Pure."""

from typing import Any

from aima_common.collections import JOB_STATES, RUN_STATES
from aima_common.contracts.media import Confidentiality, MediumType, Priority, Profile
from aima_common.contracts.outside import NoticeType

Json = dict[str, Any]

STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
TIME: Json = {"type": "string", "format": "date-time"}
BOOLEAN: Json = {"type": "boolean"}


def nullable(schema: Json) -> Json:
    """Allow null as well."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(values: object) -> Json:
    """Allow these words."""
    return {"type": "string", "enum": [str(value) for value in values]}  # type: ignore[attr-defined]


def listing(name: str, of: str, *, paged: bool = True) -> Json:
    """Describe a page of things."""
    fields: Json = {name: {"type": "array", "items": ref(of)}}
    return record(fields | ({"next": nullable(STRING)} if paged else {}), [name])


def record(fields: Json, required: list[str] | None = None) -> Json:
    """Describe an object; further fields may come."""
    return {"type": "object", "properties": fields, "required": list(fields) if required is None else required}


def ref(name: str) -> Json:
    """Refer to a shape."""
    return {"$ref": f"#/components/schemas/{name}"}


OPTIONS: Json = {
    "priority": {**one_of(Priority), "default": "normal"},
    "deadline": nullable(TIME),
    "confidentiality": {**one_of(Confidentiality), "default": "confidential"},
    "profile": {**one_of(Profile), "default": "default"},
}
REASON = nullable(record({"code": STRING, "reason": STRING, "remedy": STRING}, ["code", "reason"]))
PARTS: Json = {"parts_done": COUNT, "parts_total": nullable(COUNT)}
SHAPE: Json = {
    "type": nullable(one_of(MediumType)),
    "duration_seconds": nullable(NUMBER),
    "prepared_seconds": NUMBER,
}
COUNTS = record(dict.fromkeys(("items", "analysed", "rejected", "failed", "cancelled", "erased", "running"), COUNT))
CASE: Json = {
    "id": STRING,
    "name": STRING,
    "state": one_of(["open", "cancelled"]),
    "created_at": TIME,
    "options": record(OPTIONS),
}
WHOLE_CASE: Json = {
    **CASE,
    "counts": COUNTS,
    "progress": record({"parts_done": COUNT, "parts_total": COUNT}),
    "dossier": nullable(ref("CurrentDossier")),
}
STAGE = one_of(RUN_STATES)
KEY: Json = {
    "id": STRING,
    "tenant": STRING,
    "name": STRING,
    "role": one_of(["reader", "writer", "admin", "operator"]),
    "state": one_of(["active", "revoked"]),
    "created_at": TIME,
}
FINDING = record(
    {
        "id": STRING,
        "kind": STRING,
        "start_seconds": NUMBER,
        "end_seconds": NUMBER,
        "precision_seconds": NUMBER,
        "region": nullable(record(dict.fromkeys(("x", "y", "width", "height"), NUMBER))),
        "text": nullable(STRING),
        "label": nullable(STRING),
        "confidence": NUMBER,
        "analyzer": STRING,
        "model": nullable(record(dict.fromkeys(("name", "version", "sha256"), STRING))),
    },
    ["id", "kind", "start_seconds", "end_seconds", "confidence", "analyzer"],
)
ENTITY: Json = {
    "id": STRING,
    "kind": one_of(["thing", "phrase"]),
    "name": STRING,
    "ordinal": {"type": "integer", "minimum": 1, "description": "The entity's number; it stays with it."},
    "media": {**COUNT, "description": "How many media it appears in."},
}
UPLOAD: Json = {
    "id": STRING,
    "state": one_of(["open", "complete", "aborted"]),
    "case": STRING,
    "item": nullable(STRING),
    "medium": nullable(STRING),
    "file_name": STRING,
    "sha256": nullable(STRING),
    "size_bytes": nullable(COUNT),
}
NAMED_ITEMS: Json = {"type": "array", "items": record({"id": STRING, "case": STRING, "file_name": STRING})}
NOTICES: Json = {"type": "array", "items": one_of(NoticeType), "minItems": 1}
WEBHOOK: Json = {
    "id": STRING,
    "state": one_of(["active", "disabled"]),
    "url": STRING,
    "types": NOTICES,
    "description": STRING,
    "created_at": TIME,
    "failing_since": nullable({**TIME, "description": "Since when no delivery has succeeded."}),
    "last_error": nullable(STRING),
    "delivered_at": nullable({**TIME, "description": "When the last delivery succeeded."}),
    "waiting": {**COUNT, "description": "Deliveries that are owed."},
}
DEAD_LETTER: Json = {
    "id": STRING,
    "tenant": {"type": "string", "description": "Empty where it could not be read whose it is."},
    "state": one_of(["open", "retried", "discarded"]),
    "service": STRING,
    "reason": STRING,
    "detail": STRING,
    "at": TIME,
    **dict.fromkeys(("topic", "key", "medium", "case"), nullable(STRING)),
    **dict.fromkeys(("partition", "offset", "size_bytes"), nullable(COUNT)),
    "closed_at": nullable(TIME),
    "closed_by": nullable(STRING),
    "note": nullable(STRING),
}
QUEUE_STATES = ("ready", "leased", "parked", "unschedulable", "unavailable", "dead")
"""Of these the queue tells how many there are."""

AMOUNTS = record({"cpus": NUMBER, "memory_bytes": COUNT, "gpus": COUNT})
ERROR = record({"at": STRING, "code": STRING, "reason": STRING})

SCHEMAS: dict[str, Json] = {
    "Any": {},
    "Problem": record(
        {
            "type": STRING,
            "title": STRING,
            "status": {"type": "integer"},
            "code": STRING,
            "detail": STRING,
            "remedy": {"type": "string", "description": "What to do about it."},
            "instance": STRING,
            "errors": {"type": "array", "items": record({"field": STRING, "message": STRING})},
        },
        ["type", "title", "status", "code", "detail", "remedy"],
    ),
    "NewCase": {**record({"name": STRING, **OPTIONS}, ["name"]), "additionalProperties": False},
    "CaseChange": {
        **record({name: OPTIONS[name] for name in ("priority", "deadline", "confidentiality")}, []),
        "additionalProperties": False,
    },
    "Case": record(CASE),
    "CaseWithCounts": record(WHOLE_CASE),
    "CaseInFull": record({**WHOLE_CASE, "media": {"type": "array", "items": ref("Stage")}}),
    "Cases": listing("cases", "CaseWithCounts"),
    "Stage": record(
        {
            "medium": STRING,
            "items": {"type": "array", "items": STRING},
            "file_name": STRING,
            "stage": STAGE,
            **PARTS,
            **SHAPE,
            "reason": REASON,
        }
    ),
    "Item": record(
        {
            "id": STRING,
            "ordinal": COUNT,
            "file_name": STRING,
            "size_bytes": COUNT,
            "medium": STRING,
            "status": STAGE,
            "reason": REASON,
        }
    ),
    "Items": listing("items", "Item"),
    "CurrentDossier": record({"version": COUNT, "complete": BOOLEAN, "items": COUNT}),
    "Dossiers": listing("dossiers", "DossierOfCase", paged=False),
    "DossierOfCase": record({"case": STRING, "name": STRING, "version": COUNT, "complete": BOOLEAN, "items": COUNT}),
    "Dossier": {"type": "object", "description": "A dossier; its own schema is named in its field `schema`."},
    "Link": record({"url": STRING, "expires_at": TIME}),
    "Reason": record({"reason": STRING}, []),
    "Cancelled": record({"cancelled": {"type": "array", "items": STRING}}),
    "Upload": record({**UPLOAD, "received_bytes": COUNT}, list(UPLOAD)),
    "DirectUpload": record({**UPLOAD, "direct": nullable(record({"part_bytes": COUNT, "parts": COUNT}))}),
    "DirectLinks": record(
        {
            "first": {**COUNT, "description": "Number of the part that the first link is for."},
            "urls": {"type": "array", "items": STRING, "description": "One per part; PUT the part's bytes, no key."},
            "expires_at": TIME,
        }
    ),
    "Known": record({"case": STRING, "file_name": STRING, "sha256": STRING, "size_bytes": COUNT}),
    "Media": listing("media", "MediumInShort"),
    "MediumInShort": record({"id": STRING, "sha256": STRING, "size_bytes": COUNT, "state": STRING}),
    "Medium": record(
        {
            "id": STRING,
            "sha256": STRING,
            "size_bytes": COUNT,
            "state": one_of(["stored", "erased"]),
            "stage": STAGE,
            **PARTS,
            **SHAPE,
            "probe": nullable({"type": "object"}),
            "reason": REASON,
            "items": {
                "type": "array",
                "items": record({"id": STRING, "case": STRING, "file_name": STRING, "state": STRING}),
            },
        }
    ),
    "Findings": record(
        {
            "medium": STRING,
            "complete": {"type": "boolean", "description": "Whether nothing more will come."},
            "findings": {"type": "array", "items": FINDING},
        }
    ),
    "NewCorrection": {
        **record({"finding": STRING, "field": one_of(["text", "label", "kind"]), "value": STRING}),
        "additionalProperties": False,
    },
    "Correction": record(dict.fromkeys(("id", "medium", "finding", "field", "author"), STRING)),
    "Erasure": record({"medium": STRING, "requested": BOOLEAN}),
    "Job": record(
        {
            "id": STRING,
            "kind": STRING,
            "state": one_of(JOB_STATES),
            **{
                name: nullable(STRING)
                for name in ("run", "medium", "case", "analyzer", "capability", "lane", "machine")
            },
            "priority": one_of(Priority),
            "deadline": nullable(TIME),
            "segment": nullable(COUNT),
            "submitted_at": TIME,
            "claimed_at": nullable(TIME),
            "finished_at": nullable(TIME),
            "attempts": COUNT,
            "errors": {"type": "array", "items": ERROR},
        }
    ),
    "Jobs": listing("jobs", "Job", paged=False),
    "Explanation": record(
        {
            "job": STRING,
            "state": one_of(JOB_STATES),
            "position": nullable(
                {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Its place among all that wait for the same; null where nobody knows it.",
                }
            ),
            "blocked_by": {"type": "array", "items": STRING},
            "dimension": nullable({"type": "string", "description": "What is missing now, such as cpu or gpu_memory."}),
            "would_help": {"type": "array", "items": STRING},
            "estimated_start_seconds": nullable(NUMBER),
            "start_interval_seconds": nullable({"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}),
            "deadline_outlook": nullable(
                {
                    "type": "string",
                    "description": "Whether its deadline will be met; null where none is set or nothing is known.",
                }
            ),
            "placed_because": nullable(STRING),
        }
    ),
    "Queue": record(
        {
            "counts": {
                **record(dict.fromkeys(QUEUE_STATES, COUNT)),
                "description": "The tenant's jobs of every kind that are not over, and those that were given up.",
            },
            "waiting": {
                "type": "array",
                "items": ref("QueuedJob"),
                "description": "The tenant's analysis jobs without a machine, those that come first at the beginning.",
            },
            "machines": {"type": "array", "items": ref("MachineLoad")},
            "reservations": {"type": "array", "items": ref("KeptStart")},
            "scheduler": {
                "type": "boolean",
                "description": "Whether the scheduler answered; else machines, reservations and places are unknown.",
            },
        }
    ),
    "QueuedJob": record(
        {
            "job": STRING,
            "analyzer": nullable(STRING),
            "medium": nullable(STRING),
            "priority": one_of(Priority),
            "deadline": nullable(TIME),
            "submitted_at": TIME,
            "waited_seconds": NUMBER,
            "position": nullable({"type": "integer", "minimum": 1, "description": "Its place among all that wait."}),
            "estimated_start_seconds": nullable({**NUMBER, "description": "Seconds from now."}),
        }
    ),
    "MachineLoad": record(
        {
            "id": STRING,
            "location": STRING,
            "total": AMOUNTS,
            "used": {**AMOUNTS, "description": "By the work of all tenants."},
            "your_jobs": {**COUNT, "description": "The tenant's jobs that are worked on there."},
            "your_next_jobs": {**COUNT, "description": "The tenant's jobs that wait there for a free worker."},
        }
    ),
    "KeptStart": record(
        {
            "job": nullable({**STRING, "description": "Null where it is another tenant's."}),
            "machines": {"type": "array", "items": STRING},
            "starts_in_seconds": {
                **NUMBER,
                "description": "By when it starts if jobs take as long as they may; an hour where nothing is known.",
            },
        }
    ),
    "Entity": record(ENTITY),
    "Entities": listing("entities", "Entity"),
    "EntityInFull": record({**ENTITY, "appearances": {"type": "array", "items": ref("Appearance")}}),
    "Appearance": record(
        {
            "medium": STRING,
            "items": NAMED_ITEMS,
            "stretches": {
                "type": "array",
                "description": "When it is to be seen, the earliest first; not all of them where there are very many.",
                "items": record({"start_seconds": NUMBER, "end_seconds": NUMBER, "finding": STRING}),
            },
        }
    ),
    "Hits": record(
        {
            "query": STRING,
            "mode": one_of(["words", "meaning", "both"]),
            "missing": {"type": "array", "items": STRING, "description": "What could not be searched, and why."},
            "hits": {
                "type": "array",
                "items": record(
                    {
                        "medium": STRING,
                        "kind": STRING,
                        "text": STRING,
                        "snippet": STRING,
                        "start_seconds": NUMBER,
                        "end_seconds": NUMBER,
                        "score": NUMBER,
                        "found_by": {"type": "array", "items": one_of(["words", "meaning"])},
                        "items": NAMED_ITEMS,
                    }
                ),
            },
        }
    ),
    "NewKey": record({"name": STRING, "role": KEY["role"], "tenant": STRING}, ["role"]),
    "Key": record(KEY),
    "Keys": listing("keys", "Key", paged=False),
    "CreatedKey": record({**KEY, "token": {"type": "string", "description": "The key itself. It is not kept."}}),
    "NewWebhook": {
        **record({"url": STRING, "types": NOTICES, "description": STRING}, ["url"]),
        "additionalProperties": False,
    },
    "Webhook": record(WEBHOOK),
    "Webhooks": listing("webhooks", "Webhook", paged=False),
    "CreatedWebhook": record(
        {**WEBHOOK, "secret": {"type": "string", "description": "What signs the deliveries. It is not shown again."}}
    ),
    "DeadLetter": record(DEAD_LETTER),
    "DeadLetters": listing("dead_letters", "DeadLetter"),
    "DeadLetterInFull": record(
        {
            **DEAD_LETTER,
            "headers": {"type": "object", "additionalProperties": STRING},
            "value": nullable({"type": "string", "description": "Its bytes as Base64; the first of them where long."}),
            "original": nullable({"type": "object"}),
            "retriable": {"type": "boolean", "description": "Whether enough was kept to try it again."},
        }
    ),
    "Readiness": record(
        {
            "ready": BOOLEAN,
            "checks": {"type": "object", "additionalProperties": STRING},
            "uploads": {**STRING, "description": "`open`, or who is asked to come back, and why."},
        }
    ),
}
