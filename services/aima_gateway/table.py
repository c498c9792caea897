"""Every route, in one table: the application, the OpenAPI document and the tests are made from it. Pure."""
# ruff: noqa: E501 - a table is read by its rows

from dataclasses import dataclass, field
from typing import Any

from aima_gateway.keys import Role

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """A query parameter."""

    name: str
    about: str
    schema: Json = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True)
class Route:
    """One operation of the HTTP interface."""

    method: str
    path: str
    operation: str
    role: Role | None
    """The least role that may; None where no key is asked for."""
    summary: str
    tag: str
    answer: str | None = None
    """Name of the schema of the answer, or a media type where it is not JSON; None when it has no body."""
    status: int = 200
    body: str | None = None
    """Name of the schema of the request's body, or a media type where it is not JSON."""
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()


def _number(name: str, about: str, most: int, default: int) -> Query:
    return Query(name, about, {"type": "integer", "minimum": 1, "maximum": most, "default": default})


LIMIT = _number("limit", "How many to show at the most.", 500, 50)
AFTER = Query("after", "Show what comes behind this value of `next` of the page before.")
CASE = Query("case", "Only what belongs to this case.")
MEDIUM = Query("medium", "Only what belongs to this medium.")
KEY = Query("Idempotency-Key", "Makes a repeated request harmless: the same key and body get the same answer.")
UPLOAD_QUERY = (
    Query("case", "The case that the file belongs to.", required=True),
    Query("file_name", "The file's own name, without folders.", required=True),
    Query("sha256", "SHA-256 of the file in hexadecimal; other bytes are refused."),
)
OCTETS, EVENTS, HTML, JPEG, TEXT = (
    "application/octet-stream",
    "text/event-stream",
    "text/html",
    "image/jpeg",
    "text/plain",
)
PART = "application/offset+octet-stream"
R, W, A, OP = Role.reader, Role.writer, Role.admin, Role.operator

CASES = (
    Route("GET", "/v1/cases", "list_cases", R, "List cases, newest first", "cases", "Cases",
          query=(LIMIT, AFTER, Query("name", "Only cases of exactly this name."))),
    Route("POST", "/v1/cases", "create_case", W, "Create a case", "cases", "Case", 201, "NewCase", headers=(KEY,)),
    Route("GET", "/v1/cases/{case}", "show_case", R, "Show a case: counts, progress, dossier, every medium's stage", "cases", "CaseInFull"),
    Route("PATCH", "/v1/cases/{case}", "change_case", W, "Change a case's priority, deadline or confidentiality", "cases", "Case", 200, "CaseChange"),
    Route("POST", "/v1/cases/{case}/cancel", "cancel_case", W, "Stop the work on a case; what was found stays", "cases", "Cancelled", 202, "Reason"),
    Route("GET", "/v1/cases/{case}/items", "list_items", R, "List a case's items in the order of their arrival", "cases", "Items",
          query=(LIMIT, AFTER)),
    Route("GET", "/v1/cases/{case}/events", "follow_case", R, "Follow a case as server-sent events, from any sequence number on", "cases", EVENTS,
          query=(Query("after", "Begin behind this sequence number; so does the header Last-Event-ID.", {"type": "integer", "minimum": 0}),
                 Query("follow", "`no` ends the stream with the last event there is.", {"type": "string", "enum": ["yes", "no"]}))),
    Route("GET", "/v1/cases/{case}/dossier", "read_dossier", R, "Read a case's current dossier", "dossiers", "Dossier"),
    Route("GET", "/v1/cases/{case}/dossier.html", "read_dossier_page", None, "Read a case's current dossier as a page, with a key or a link", "dossiers", HTML,
          query=(Query("ticket", "What a link of POST /v1/cases/{case}/dossier/link ends with."),)),
    Route("POST", "/v1/cases/{case}/dossier/link", "link_dossier", R, "Make a link to the dossier's page that works for five minutes without a key", "dossiers", "Link", 201),
)  # fmt: skip

UPLOADS = (
    Route("OPTIONS", "/v1/uploads", "upload_capabilities", None, "Tell what of tus 1.0 is spoken", "uploads", None, 204),
    Route("POST", "/v1/uploads", "upload", W, "Upload a file whole; with Upload-Length begin a resumable upload (tus 1.0)", "uploads", "Upload", 201, OCTETS,
          query=UPLOAD_QUERY, headers=(KEY, Query("Upload-Length", "Begin an upload of this size in parts (tus)."),
                                       Query("Upload-Metadata", "case, filename, sha256 in tus' own form."))),
    Route("POST", "/v1/uploads/known", "upload_known", W, "Make an item of content that is here already; 404 when it is not", "uploads", "Upload", 201, "Known", headers=(KEY,)),
    Route("POST", "/v1/uploads/direct", "begin_direct_upload", W, "Begin an upload whose parts go straight to the object store; 501 where it cannot be reached", "uploads", "DirectUpload", 201, "Known", headers=(KEY,)),
    Route("GET", "/v1/uploads/{upload}", "show_upload", W, "Show an upload", "uploads", "Upload"),
    Route("HEAD", "/v1/uploads/{upload}", "upload_offset", W, "Ask how much of an upload is here (tus)", "uploads"),
    Route("PATCH", "/v1/uploads/{upload}", "upload_part", W, "Send the next part of an upload (tus)", "uploads", None, 204, PART,
          headers=(Query("Upload-Offset", "Where the part begins.", required=True),)),
    Route("DELETE", "/v1/uploads/{upload}", "abort_upload", W, "Throw an unfinished upload away (tus)", "uploads", None, 204),
    Route("GET", "/v1/uploads/{upload}/direct", "link_direct_parts", W, "Make links to PUT parts of a direct upload to; each works for a short time, for one part", "uploads", "DirectLinks",
          query=(Query("first", "Number of the first part to make a link for.", {"type": "integer", "minimum": 1, "default": 1}),)),
    Route("POST", "/v1/uploads/{upload}/direct/complete", "complete_direct_upload", W, "Put the parts together; the file is read and compared with its SHA-256 before it is accepted", "uploads", "Upload"),
)  # fmt: skip

READING = (
    Route("GET", "/v1/media", "list_media", R, "List media", "media", "Media", query=(LIMIT, AFTER, CASE)),
    Route("GET", "/v1/media/{medium}", "show_medium", R, "Show a medium", "media", "Medium"),
    Route("GET", "/v1/media/{medium}/findings", "list_findings", R, "List what was found so far, even before a medium is finished", "media", "Findings"),
    Route("POST", "/v1/media/{medium}/corrections", "correct_finding", W, "Correct what a model found; its statement stays beside the correction", "media", "Correction", 202, "NewCorrection", headers=(KEY,)),
    Route("GET", "/v1/media/{medium}/thumbnail", "show_thumbnail", R, "Show a small picture of a medium", "media", JPEG),
    Route("GET", "/v1/media/{medium}/preview", "show_preview", R, "Show a picture of a medium, at most 1280 pixels wide or high", "media", JPEG),
    Route("DELETE", "/v1/media/{medium}", "erase_medium", A, "Erase a medium and everything derived from it", "media", "Erasure", 202),
    Route("GET", "/v1/jobs", "list_jobs", R, "List jobs, newest first", "jobs", "Jobs",
          query=(LIMIT, CASE, MEDIUM, Query("state", "Only jobs in this state."), Query("kind", "Only jobs of this kind."))),
    Route("GET", "/v1/queue", "show_queue", R, "Show one's waiting jobs in their order, the machines, and what is kept free", "jobs", "Queue",
          query=(_number("limit", "How many waiting jobs to show at the most.", 100, 20),)),
    Route("GET", "/v1/jobs/{job}", "show_job", R, "Show a job", "jobs", "Job"),
    Route("GET", "/v1/jobs/{job}/explain", "explain_job", R, "Tell a job's position, what blocks it and when it may start", "jobs", "Explanation"),
    Route("POST", "/v1/jobs/{job}/cancel", "cancel_job", W, "Stop the work on the job's medium, in every case that waits for it", "jobs", "Cancelled", 202, "Reason"),
    Route("GET", "/v1/entities", "list_entities", R, "List what returns across media, by its number", "entities", "Entities",
          query=(LIMIT, AFTER, Query("kind", "Only things that were seen, or phrases that were read.", {"type": "string", "enum": ["thing", "phrase"]}),
                 Query("q", "Only those whose names hold these words."))),
    Route("GET", "/v1/entities/{entity}", "show_entity", R, "Show an entity and where it appears", "entities", "EntityInFull"),
    Route("GET", "/v1/search", "search", R, "Search what was said, shown and seen, by words and by meaning", "search", "Hits",
          query=(Query("q", "What to look for.", required=True), Query("mode", "By words, by meaning, or both.",
                 {"type": "string", "enum": ["words", "meaning", "both"], "default": "both"}), MEDIUM, _number("limit", "How many hits at the most.", 100, 20))),
    Route("GET", "/v1/dossiers", "list_dossiers", R, "List the current dossiers", "dossiers", "Dossiers", query=(LIMIT,)),
)  # fmt: skip

KEYS = (
    Route("GET", "/v1/keys", "list_keys", A, "List keys, without their secrets", "keys", "Keys"),
    Route("POST", "/v1/keys", "create_key", A, "Create a key; its secret is shown this once", "keys", "CreatedKey", 201, "NewKey"),
    Route("DELETE", "/v1/keys/{key}", "revoke_key", A, "Revoke a key", "keys", None, 204),
)  # fmt: skip

WEBHOOKS = (
    Route("GET", "/v1/webhooks", "list_webhooks", A, "List webhooks, without their secrets", "webhooks", "Webhooks"),
    Route("POST", "/v1/webhooks", "create_webhook", A, "Have notices sent to an https:// address; the secret that signs them is shown this once", "webhooks", "CreatedWebhook", 201, "NewWebhook"),
    Route("GET", "/v1/webhooks/{webhook}", "show_webhook", A, "Show a webhook: what waits for it, and whether it fails", "webhooks", "Webhook"),
    Route("POST", "/v1/webhooks/{webhook}/enable", "enable_webhook", A, "Deliver again to a webhook that was disabled because it failed for a day", "webhooks", "Webhook"),
    Route("DELETE", "/v1/webhooks/{webhook}", "delete_webhook", A, "Unsubscribe; what is owed is not delivered any more", "webhooks", None, 204),
)  # fmt: skip

DEAD_LETTERS = (
    Route("GET", "/v1/dead-letters", "list_dead_letters", OP, "List what was set aside, newest first", "dead letters", "DeadLetters",
          query=(LIMIT, AFTER, Query("state", "Only letters in this state.", {"type": "string", "enum": ["open", "retried", "discarded"]}),
                 Query("reason", "Only letters with this reason."), Query("service", "Only what this service set aside."))),
    Route("GET", "/v1/dead-letters/{letter}", "show_dead_letter", OP, "Show a dead letter with its bytes, as far as they were kept", "dead letters", "DeadLetterInFull"),
    Route("POST", "/v1/dead-letters/{letter}/retry", "retry_dead_letter", OP, "Say its message once more, or have its medium prepared once more", "dead letters", "DeadLetter", 202),
    Route("POST", "/v1/dead-letters/{letter}/discard", "discard_dead_letter", OP, "Put a dead letter away, with a reason", "dead letters", "DeadLetter", 200, "Reason"),
)  # fmt: skip

OPERATIONS = (
    Route("GET", "/livez", "livez", None, "Tell whether the process answers", "operations", TEXT),
    Route("GET", "/readyz", "readyz", None, "Tell whether work can be accepted now, and what is in the way", "operations", "Readiness"),
    Route("GET", "/startupz", "startupz", None, "Tell whether the process has started", "operations", TEXT),
    Route("GET", "/metrics", "metrics", None, "Show metrics in Prometheus' text form", "operations", TEXT),
    Route("GET", "/openapi.json", "openapi", None, "Show this document", "operations", "Any"),
)  # fmt: skip

PAGE = (
    Route("GET", "/", "page", None, "Show the web page", "page", HTML),
    Route("GET", "/page/{file}", "page_file", None, "Show a part of the web page", "page", OCTETS),
)

ROUTES: tuple[Route, ...] = (*CASES, *UPLOADS, *READING, *KEYS, *WEBHOOKS, *DEAD_LETTERS, *OPERATIONS, *PAGE)
