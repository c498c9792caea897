"""Which processes make a cluster, and what each is told. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

LANES = ("video", "image", "audio")

REPLICAS: Mapping[str, int] = {
    "gateway": 2,
    "upload": 2,
    "preprocessing": 2,
    "scheduler": 2,
    "gpu_manager": 1,
    "analysis-video": 2,
    "analysis-image": 2,
    "analysis-audio": 2,
    "fusion": 2,
    "dossier": 1,
    "storage": 1,
    "monitoring": 1,
}
"""Two of everything that a person would first want more of."""

PORTS_EACH = 2
"""One for its health, and one for the services that answer HTTP."""


@dataclass(frozen=True)
class Member:
    """One process of a cluster."""

    name: str
    """Unique, such as `analysis-video-1`."""
    service: str
    environment: Mapping[str, str] = field(repr=False)
    arguments: tuple[str, ...] = ()
    """What Python is to run, where it is not the service's own module."""

    @property
    def module(self) -> str:
        """The service's module."""
        return f"aima_{self.service}"


def members_of(replicas: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    """Yield name, service and lane of every process."""
    for kind, count in replicas.items():
        service, _, lane = kind.partition("-")
        for number in range(1, count + 1):
            yield f"{kind}-{number}", service, lane


def ports_needed(replicas: Mapping[str, int]) -> int:
    """Tell how many ports a plan takes."""
    return PORTS_EACH * sum(replicas.values())


def plan(
    stores: Mapping[str, str],
    ports: Sequence[int],
    secret: str,
    *,
    replicas: Mapping[str, int] = REPLICAS,
    machine: str = "this-machine",
    extra: Mapping[str, str] | None = None,
) -> tuple[Member, ...]:
    """Say which processes run, in the order in which they are started, on ports that stay theirs.

    `stores` are the settings of the servers, `extra` further settings for all; a name in it that belongs to one
    service only is given to that service alone.
    """
    free = iter(ports)
    names = list(members_of(replicas))
    own = {name: (next(free), next(free)) for name, _, _ in names}

    def urls(service: str) -> str:
        return ",".join(f"http://127.0.0.1:{own[name][1]}" for name, of, _ in names if of == service)

    special: dict[str, dict[str, str]] = {
        "gateway": {
            "AIMA_UPLOAD_URLS": urls("upload"),
            "AIMA_ANALYSIS_URLS": urls("analysis"),
            "AIMA_SCHEDULER_URLS": urls("scheduler"),
        },
    }
    made = []
    for name, service, lane in names:
        health, port = own[name]
        environment = {**stores, "AIMA_HEALTH_PORT": str(health), "AIMA_MACHINE": machine, **(extra or {})}
        if service in {"gateway", "upload", "analysis", "scheduler"}:
            environment |= {"AIMA_INTERNAL_SECRET": secret, f"AIMA_{service.upper()}_PORT": str(port)}
        if lane:
            environment["AIMA_LANES"] = lane
        made.append(Member(name, service, {**environment, **special.get(service, {})}))
    return tuple(made)
