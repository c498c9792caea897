"""A whole cluster on this machine: the real servers, and every service as processes of its own, several of some.

For trying it out (`make cluster-demo`), for the tests that compare it with one process, and for those that kill it.
"""

from aima_cluster.plan import Member, plan
from aima_cluster.running import GRACE_SECONDS, Cluster, Ended, Process, cluster

__all__ = ["GRACE_SECONDS", "Cluster", "Ended", "Member", "Process", "cluster", "plan"]
