"""The real servers."""

from tests.servers import kafka_address, kafka_server, minio_server, mongod_server, mongod_uri, s3_server

__all__ = ["kafka_address", "kafka_server", "minio_server", "mongod_server", "mongod_uri", "s3_server"]
