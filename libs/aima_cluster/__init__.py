"""A whole cluster on this machine: the real servers, and every service as processes of its own, several of some.

For trying it out (`make cluster-demo`), for the tests that compare it with one process, and for those that kill it.
"""

from aima_cluster.plan import Member, plan
from aima_cluster.running import Cluster, Process, cluster

__all__ = ["Cluster", "Member", "Process", "cluster", "plan"]
