"""What an operator may set: every environment variable there is, once, and how a process reads them.

A process refuses to start on a name that does not exist, on one that is missing, and on two that contradict
each other: an installation with a typing error in it would run for weeks on a default that nobody chose.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aima_common.errors import SettingsError

PREFIX = "AIMA_"
EVERY = "every process of a cluster"

PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a location may be called."""

LOG_LEVELS = ("INFO", "DEBUG", "WARNING", "ERROR")
"""The usual one first."""


@dataclass(frozen=True)
class Setting:
    """One environment variable."""

    name: str
    meaning: str
    read_by: str = EVERY
    default: str | None = None
    """None: it must be set where it is read, or may be left out, as its meaning says."""
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("AIMA_KAFKA", "Kafka's brokers, host:port with commas between them"),
    Setting("AIMA_KAFKA_USER", "user for SASL SCRAM-SHA-512; without one nobody logs in", default=""),
    Setting("AIMA_KAFKA_PASSWORD", "that user's password", default="", secret=True),
    Setting("AIMA_KAFKA_CA", "file of certificates to trust; turns TLS on", default=""),
    Setting("AIMA_KAFKA_REPLICATION", "copies of new topics; the brokers' own default when left out", default=""),
    Setting("AIMA_KAFKA_SESSION_SECONDS", "silence after which a process's partitions go to the others", default="45"),
    Setting("AIMA_MONGODB", "MongoDB's URI, mongodb://…/?replicaSet=…", secret=True),
    Setting("AIMA_MONGODB_DATABASE", "database of this installation", default="aima"),
    Setting("AIMA_S3", "URL of the S3 server, http://host:port or https://host"),
    Setting(
        "AIMA_S3_PUBLIC",
        "URL by which clients reach the S3 server, where it is another; for direct uploads",
        default="",
    ),
    Setting("AIMA_S3_BUCKET", "bucket of this installation; made when it is not there", default="aima"),
    Setting("AIMA_S3_ACCESS_KEY", "access key for the bucket"),
    Setting("AIMA_S3_SECRET_KEY", "secret key for the bucket", secret=True),
    Setting("AIMA_S3_REGION", "region of the bucket", default="us-east-1"),
    Setting("AIMA_VECTORS", "http://host:port of a Qdrant server, or unix:/path of a Qdrant Edge process"),
    Setting("AIMA_SCRATCH", "folder for copies of originals while they are decoded", default="the system's own"),
    Setting("AIMA_HEALTH_HOST", "address of /livez /readyz /startupz /metrics", default="127.0.0.1"),
    Setting("AIMA_HEALTH_PORT", "port of the same; 0 takes a free one", default="8790"),
    Setting("AIMA_MACHINE", "name of the machine (the node, in Kubernetes)", default="the host's name"),
    Setting("AIMA_SLOTS", "jobs that a process works on at the same time", default="the number of cores"),
    Setting("AIMA_LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR; aima up reads it, too: there WARNING", default="INFO"),
    Setting("AIMA_INTERNAL_SECRET", "what processes show others", "gateway, upload, analysis, scheduler", secret=True),
    Setting("AIMA_GATEWAY_HOST", "address of the HTTP interface", "gateway", "127.0.0.1"),
    Setting("AIMA_GATEWAY_PORT", "port of the HTTP interface; 0 takes a free one", "gateway", "8700"),
    Setting("AIMA_UPLOAD_URLS", "the upload processes, with commas between them", "gateway"),
    Setting("AIMA_ANALYSIS_URLS", "processes that turn a search's words into vectors", "gateway", ""),
    Setting("AIMA_SCHEDULER_URLS", "schedulers, which know why a job waits", "gateway", ""),
    Setting(
        "AIMA_ADMISSION_SECONDS", "age of waiting work above which uploads are refused; 0: never", "gateway", "900"
    ),
    Setting(
        "AIMA_TENANT_REQUESTS_PER_SECOND", "requests of one tenant through all gateways; 0: no limit", "gateway", "400"
    ),
    Setting("AIMA_TENANT_UPLOADS_AT_ONCE", "uploads of one tenant under way; 0: no limit", "gateway", "64"),
    Setting("AIMA_TENANT_ITEMS_PER_DAY", "items of one tenant accepted in a day of UTC; 0: no limit", "gateway", "0"),
    Setting("AIMA_TENANT_BYTES_PER_DAY", "bytes of those items; 0: no limit", "gateway", "0"),
    Setting("AIMA_ENVIRONMENT", "part of every key, so that a test key is seen to be one", "gateway", "local"),
    Setting("AIMA_UPLOAD_HOST", "address that gateways reach upload at", "upload", "127.0.0.1"),
    Setting("AIMA_UPLOAD_PORT", "port of the same; 0 takes a free one", "upload", "8701"),
    Setting("AIMA_MAX_UPLOAD_BYTES", "size of the largest file that is taken", "upload", "5 GiB"),
    Setting("AIMA_RESULTS", "offered, all: of what the results topics tell", "gateway", "offered"),
    Setting("AIMA_INGRESS_URL_HOSTS", "hosts that offers may name for files to be fetched from", "upload", ""),
    Setting(
        "AIMA_PRIVATE_HOSTS", "hosts with private addresses that webhooks and fetches may go to", "gateway, upload", ""
    ),
    Setting(
        "AIMA_UNSANDBOXED", "yes: decode without the sandbox where the kernel lacks it", "preprocessing, aima up", "no"
    ),
    Setting(
        "AIMA_ANALYZERS",
        "names of the analyzers to run, with commas between them",
        "analysis, aima up",
        "the usual ones",
    ),
    Setting("AIMA_LANES", "video, image, audio: whose jobs this process takes", "analysis", "all three"),
    Setting("AIMA_SCHEDULER_HOST", "address that gateways reach the scheduler at", "scheduler", "127.0.0.1"),
    Setting("AIMA_SCHEDULER_PORT", "port of the same; 0 takes a free one", "scheduler", "8703"),
    Setting(
        "AIMA_ORDER",
        "seed, seed_short: whether short jobs go before long ones of their class",
        "scheduler, aima up",
        "seed",
    ),
    Setting(
        "AIMA_PREEMPTION",
        "off, on: whether critical jobs may send low and batch jobs back to wait",
        "scheduler, aima up",
        "off",
    ),
    Setting(
        "AIMA_PREEMPTION_BUDGET", "seconds of work that may be lost by that in any hour", "scheduler, aima up", "600"
    ),
    Setting(
        "AIMA_RULES",
        "corrected, seed: the founding document's rules with their faults",
        "scheduler, aima up",
        "corrected",
    ),
    Setting(
        "AIMA_SCORING", "aima, fgd, best_fit, first_fit: which machine a job goes to", "scheduler, aima up", "aima"
    ),
    Setting(
        "AIMA_TENANT_WEIGHTS",
        "shares of tenants inside a class, such as news=3,archive=0.5; everybody else counts 1",
        "scheduler, aima up",
        "",
    ),
    Setting(
        "AIMA_DATA_LOCATION", "where the bucket lies: jobs go there rather than have it sent", "scheduler", "local"
    ),
    Setting("AIMA_BANDWIDTH_MBIT", "megabits per second between two locations", "scheduler", "1000"),
    Setting(
        "AIMA_LOCATION",
        "where this machine is: local, or what a rented place is called; what is not public stays on local ones",
        "gpu_manager",
        "local",
    ),
    Setting(
        "AIMA_COST_PER_HOUR", "what this machine costs, in whatever unit; dear ones are taken last", "gpu_manager", "0"
    ),
    Setting("AIMA_ANALYSIS_HOST", "address that gateways reach analysis at", "analysis", "127.0.0.1"),
    Setting("AIMA_ANALYSIS_PORT", "port of the same; 0 takes a free one", "analysis", "8702"),
    Setting("AIMA_MODELS", "folder of the model pack", "analysis, preprocessing, aima up", "the user's cache"),
    Setting("AIMA_URL", "address of a gateway", "the aima command"),
    Setting("AIMA_KEY", "key for that gateway", "the aima command", secret=True),
    Setting("AIMA_DATA", "data folder of an AIMA on one machine", "the aima command", "the user's data folder"),
    Setting("AIMA_STATE", "folder where running instances are found", "the aima command", "the user's state folder"),
    Setting("AIMA_CHROMIUM", "browser for the pages' tests and pictures", "the tests", "/usr/bin/chromium"),
)

KNOWN: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}

Environment = Mapping[str, str]


def refuse_unknown(environment: Environment = os.environ) -> None:
    """Raise `SettingsError` for a name of ours that nothing reads: it is a typing error."""
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in KNOWN)
    if unknown:
        near = _nearest(unknown[0])
        raise SettingsError(f"{unknown[0]} is no setting of AIMA" + (f"; did you mean {near}?" if near else ""))


def required(environment: Environment, name: str) -> str:
    """Read a setting that has no default; raise `SettingsError` with its meaning when it is missing."""
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: {KNOWN[name].meaning}")
    return value


def number(environment: Environment, name: str, default: int, *, least: int = 0) -> int:
    """Read a whole number; raise `SettingsError` for anything else."""
    text = environment.get(name, "").strip()
    try:
        value = int(text) if text else default
    except ValueError:
        raise SettingsError(f"{name} is {text!r}, and a whole number is wanted: {KNOWN[name].meaning}") from None
    if value < least:
        raise SettingsError(f"{name} is {value}, and at least {least} is wanted: {KNOWN[name].meaning}")
    return value


def decimal(environment: Environment, name: str, default: float, *, least: float, most: float) -> float:
    """Read a number, broken or whole; raise `SettingsError` for anything else, and for one outside the bounds."""
    return decimal_of(environment.get(name, "").strip() or str(default), name, least, most)


def decimal_of(text: str, name: str, least: float, most: float) -> float:
    """Read a part of a setting as a number; raise `SettingsError` as `decimal` does."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        bounds = f"a number from {least:g} to {most:g} is wanted"
        raise SettingsError(f"{name} says {text!r}, and {bounds}: {KNOWN[name].meaning}")
    return value


def place(environment: Environment, name: str) -> str:
    """Read the name of a location, `local` by default; raise `SettingsError` for what is no single word."""
    value = environment.get(name, "").strip() or "local"
    if not PLACE.fullmatch(value):
        raise SettingsError(
            f"{name} is {value!r}, and a word of letters, digits and .-_ is wanted: {KNOWN[name].meaning}"
        )
    return value


def words(environment: Environment, name: str) -> tuple[str, ...]:
    """Read a list with commas."""
    return tuple(word.strip() for word in environment.get(name, "").split(",") if word.strip())


def choice(environment: Environment, name: str, choices: tuple[str, ...]) -> str:
    """Read one of some words, the first of them by default; raise `SettingsError` for any other."""
    value = environment.get(name, "").strip() or choices[0]
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}, and one of {', '.join(choices)} is wanted: {KNOWN[name].meaning}")
    return value


def log_level(environment: Environment) -> str:
    """Read from which level on a process logs, in small or capital letters."""
    level = environment.get("AIMA_LOG_LEVEL", "").strip().upper()
    return level if level in LOG_LEVELS else choice(environment, "AIMA_LOG_LEVEL", LOG_LEVELS)


def web_address(environment: Environment, name: str) -> str:
    """Read the URL of a server; raise `SettingsError` for what is none."""
    value = required(environment, name).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path:
        raise SettingsError(f"{name} is {value!r}, and http://host:port or https://host is wanted")
    return value


@dataclass(frozen=True)
class StoreSettings:
    """Where the four servers of a cluster are."""

    kafka: str
    mongodb: str = field(repr=False)
    s3: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    vectors: str
    kafka_user: str | None = None
    kafka_password: str | None = field(default=None, repr=False)
    kafka_authority: Path | None = None
    kafka_replication: int | None = None
    kafka_session_seconds: int = 45
    mongodb_database: str = "aima"
    s3_public: str | None = None
    s3_bucket: str = "aima"
    s3_region: str = "us-east-1"
    scratch: Path | None = None

    @classmethod
    def from_environment(cls, environment: Environment = os.environ) -> "StoreSettings":
        """Read them; raise `SettingsError` for what is missing, malformed or contradictory."""
        user, password = environment.get("AIMA_KAFKA_USER", ""), environment.get("AIMA_KAFKA_PASSWORD", "")
        if bool(user) != bool(password):
            raise SettingsError("AIMA_KAFKA_USER and AIMA_KAFKA_PASSWORD are set together or not at all")
        authority = environment.get("AIMA_KAFKA_CA", "")
        if authority and not Path(authority).is_file():
            raise SettingsError(f"AIMA_KAFKA_CA is {authority!r}, and no file lies there")
        return cls(
            kafka=_brokers(required(environment, "AIMA_KAFKA")),
            mongodb=_mongodb(required(environment, "AIMA_MONGODB")),
            s3=web_address(environment, "AIMA_S3"),
            s3_access_key=required(environment, "AIMA_S3_ACCESS_KEY"),
            s3_secret_key=required(environment, "AIMA_S3_SECRET_KEY"),
            vectors=_vectors(required(environment, "AIMA_VECTORS")),
            kafka_user=user or None,
            kafka_password=password or None,
            kafka_authority=Path(authority) if authority else None,
            kafka_replication=number(environment, "AIMA_KAFKA_REPLICATION", 0) or None,
            kafka_session_seconds=number(environment, "AIMA_KAFKA_SESSION_SECONDS", 45, least=6),
            mongodb_database=environment.get("AIMA_MONGODB_DATABASE") or cls.mongodb_database,
            s3_public=web_address(environment, "AIMA_S3_PUBLIC") if environment.get("AIMA_S3_PUBLIC") else None,
            s3_bucket=environment.get("AIMA_S3_BUCKET") or cls.s3_bucket,
            s3_region=environment.get("AIMA_S3_REGION") or cls.s3_region,
            scratch=Path(environment["AIMA_SCRATCH"]) if environment.get("AIMA_SCRATCH") else None,
        )


def _brokers(value: str) -> str:
    for broker in value.split(","):
        host, _, port = broker.strip().rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"AIMA_KAFKA names {broker.strip()!r}, and host:port is wanted")
    return value


def _mongodb(value: str) -> str:
    if not value.startswith(("mongodb://", "mongodb+srv://")):
        raise SettingsError("AIMA_MONGODB does not begin with mongodb:// or mongodb+srv://")
    return value


def _vectors(value: str) -> str:
    if value.startswith("unix:/") or urlsplit(value).scheme in {"http", "https"}:
        return value
    raise SettingsError(f"AIMA_VECTORS is {value!r}, and unix:/path or http://host:port is wanted")


def _nearest(name: str) -> str | None:
    import difflib

    found = difflib.get_close_matches(name, KNOWN, n=1)
    return found[0] if found else None


def described() -> str:
    """Write the table of settings as Markdown, for docs/generated."""
    lines = [
        "# Settings",
        "",
        "Every environment variable that AIMA reads, made from `aima_common.settings`. A process refuses to start on a",
        "name that is not here, on one it needs and lacks, and on two that contradict each other.",
        "What `aima up` reads, every other command that starts an AIMA of its own reads as well.",
        "",
        "| name | meaning | read by | default |",
        "|---|---|---|---|",
    ]
    for setting in SETTINGS:
        note = " (secret)" if setting.secret else ""
        default = "–" if setting.default is None else f"`{setting.default}`" if setting.default else "empty"
        lines.append(f"| `{setting.name}` | {setting.meaning}{note} | {setting.read_by} | {default} |")
    return "\n".join(lines) + "\n"
