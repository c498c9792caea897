"""Apache Kafka 4.1.1: one node that is broker and controller (KRaft), from Maven's jars, on Java 17 or newer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aima_servers.means import MeansMissingError, Report, digest_of, kept, program, quiet, run
from aima_servers.processes import Served, Server, answers, free_ports, serving_from

VERSION = "4.1.1"
PIN = "a3030b5e96aa0571d6ccc42ccc50a3b5df413036c3f437437cedf84205e5bf4c"
"""`digest_of` the jars that Maven resolves for the three dependencies below."""

DEPENDENCIES = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.logging.log4j", "log4j-core", "2.25.1"),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.1"),
)
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
CLUSTER_ID = "QUlNQS10ZXN0LXNlcnZlcg"
JAVA_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/log
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.login.scram-sha-512.sasl.jaas.config={jaas}
"""
"""Automatic topic creation stays on, as in a stock broker: that AIMA never makes a topic by mistake is then
the client's doing, and can be tested."""

JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"

LOGGING = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
"""
SERVES = "Kafka Server started"

Behind = tuple[int, int]
"""A second port that the broker listens on, and the port that it names to whoever comes by it: something else listens
there and passes on. A broker tells its clients where to connect to, so that the address alone leads past a proxy."""

Login = tuple[str, str]
"""A user and its password."""


def fetch(report: Report = quiet) -> Path:
    """Return the folder of Kafka's jars, fetching them with Maven the first time."""
    program("java", "install a Java runtime, version 17 or newer")

    def build(folder: Path) -> None:
        maven = program("mvn", "install Apache Maven, with which Kafka is fetched")
        report(f"kafka {VERSION}: fetching its jars with Maven (43 MB, once)")
        (folder / "pom.xml").write_text(_project())
        run([maven, "--quiet", "--batch-mode", "--strict-checksums", COPY, "-DoutputDirectory=libs"], folder)
        found = digest_of((folder / "libs").glob("*.jar"))
        if found != PIN:
            raise MeansMissingError(f"Maven brought jars with digest {found}; {PIN} was expected")
        report(f"kafka {VERSION}: fetched and checked")

    return kept("kafka", VERSION, PIN, build)


@asynccontextmanager
async def kafka(
    folder: Path, report: Report = quiet, behind: Behind | None = None, login: Login | None = None
) -> AsyncIterator[Served]:
    """Run a broker with its data in `folder` while the block runs; its address is host:port.

    With `login`, that is an address where this user logs in by SCRAM-SHA-512, and nobody else gets in.
    """
    libraries = await asyncio.to_thread(fetch, report)
    port, controller, guarded = free_ports(3)
    settings = folder / "server.properties"
    settings.write_text(_properties(folder, port, controller, behind, guarded if login else None))
    (folder / "log4j2.properties").write_text(LOGGING)
    java = [program("java", "install a Java runtime"), *JAVA_OPTIONS, "-cp", f"{libraries}/libs/*"]
    format_log = [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(settings)]
    if login:
        format_log += ["--add-scram", f"SCRAM-SHA-512=[name={login[0]},password={login[1]}]"]
    await asyncio.to_thread(run, format_log, folder)
    command = [*java[:-2], f"-Dlog4j2.configurationFile={folder}/log4j2.properties", *java[-2:]]
    report(f"kafka {VERSION}: starting on 127.0.0.1:{port}")
    command += ["kafka.Kafka", str(settings)]
    server = Server(command, folder, lambda log: SERVES in log and answers(port))
    async with serving_from(server):
        report(f"kafka {VERSION}: ready")
        yield Served(f"127.0.0.1:{guarded if login else port}", server)


def _properties(folder: Path, port: int, controller: int, behind: Behind | None, guarded: int | None) -> str:
    listeners = advertised = f"PLAINTEXT://127.0.0.1:{port}"
    if behind is not None:
        listeners += f",BEHIND://127.0.0.1:{behind[0]}"
        advertised += f",BEHIND://127.0.0.1:{behind[1]}"
    if guarded is not None:
        listeners += f",LOGIN://127.0.0.1:{guarded}"
        advertised += f",LOGIN://127.0.0.1:{guarded}"
    return PROPERTIES.format(
        listeners=listeners, advertised=advertised, controller=controller, folder=folder, jaas=JAAS
    )


def _project() -> str:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        "</dependency>"
        for group, artifact, version in DEPENDENCIES
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>aima</groupId><artifactId>kafka-server</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
