"""Which faults a cluster has to live through: all of them, and the few of every test run."""

from collections.abc import Sequence

from tests.chaos.cluster_crashes import WHERE, crash_at
from tests.chaos.cluster_faults import (
    DUPLICATES,
    GARBAGE_MESSAGES,
    NOTHING,
    REPLAY,
    Fault,
    in_turn,
    kill,
    rolling_restart,
    stop_server,
    together,
)
from tests.chaos.cluster_lines import black_hole, lost_replies, reset, slow
from tests.chaos.cluster_stops import kill_holder, stop_all, stop_holder, stop_leader

SERVICES = (
    *("gateway", "upload", "preprocessing", "scheduler", "gpu_manager", "analysis-image"),
    *("fusion", "dossier", "storage", "monitoring"),
)
HOLDERS = ("analysis-image", "preprocessing", "fusion")
SELDOM = ("analysis-video", "analysis-audio")
"""Lanes with a job now and then: a death at any other moment would prove nothing."""
SERVERS = ("kafka", "mongod", "s3", "vectors")
PROXIED = ("kafka", "mongod", "s3")


def everything() -> Sequence[Fault]:
    """Give the whole matrix: first what the controls need, and early what repeats all that was told."""
    return (
        kill("analysis-image"),
        NOTHING,
        DUPLICATES,
        REPLAY,
        *(kill(service) for service in SERVICES if service != "analysis-image"),
        *(kill_holder(lane) for lane in SELDOM),
        *(stop_holder(service) for service in HOLDERS),
        stop_leader(),
        stop_all("scheduler"),
        *(crash_at(point) for point in WHERE),
        *(fault(server) for server in PROXIED for fault in (slow, reset, black_hole, lost_replies)),
        *(stop_server(name) for name in SERVERS),
        rolling_restart(),
        GARBAGE_MESSAGES,
    )


def selection() -> Sequence[Fault]:
    """Give what runs in every test run: of each kind one, several to a case, as most of the time is spent waiting."""
    return (
        together(kill("scheduler"), kill("analysis-image"), crash_at("after a change", ("dossier",)), DUPLICATES),
        # Apart from the deaths: an answer that is lost must have been a write's, and writes end with the work.
        in_turn(lost_replies("mongod", 5.0), stop_server("mongod", 5.0), stop_server("kafka", 5.0)),
    )
