"""The real servers."""

from tests.demo import analysed_demo
from tests.servers import any_s3_server, kafka_address, kafka_server, minio_server, mongod_server, mongod_uri, s3_server

__all__ = [
    "analysed_demo",
    "any_s3_server",
    "kafka_address",
    "kafka_server",
    "minio_server",
    "mongod_server",
    "mongod_uri",
    "s3_server",
]
