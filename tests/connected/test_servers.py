"""The real servers serve, and they die with whoever started them."""

import signal
import subprocess
import sys
import time

import pytest

from aima_servers import MeansMissingError, fetch
from aima_servers.processes import answers


@pytest.fixture(params=["kafka", "mongod"])
def name(request: pytest.FixtureRequest) -> str:
    wanted = str(request.param)
    try:
        fetch(wanted)
    except MeansMissingError as error:
        pytest.skip(str(error))
    return wanted


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_dies_with_the_command_that_started_it(name: str, number: int) -> None:
    command = [sys.executable, "-m", "aima_servers", "up", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said, address = process.stdout.readline().split()
        port = int(address.split("/?")[0].rpartition(":")[2])
        assert said == name
        assert answers(port)
        process.send_signal(number)
        assert process.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    while answers(port):
        time.sleep(0.02)
