"""The real servers, for the plugs that need them."""

from tests.servers import kafka_address, kafka_server, mongod_server, mongod_uri

__all__ = ["kafka_address", "kafka_server", "mongod_server", "mongod_uri"]
