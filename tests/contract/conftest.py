"""The real servers, for the plugs that need them."""

from tests.servers import kafka_address, mongod_uri

__all__ = ["kafka_address", "mongod_uri"]
