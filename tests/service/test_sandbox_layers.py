"""The box, from inside: what it forbids fails there and works outside, and what decoding needs still works."""

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aima_preprocessing import landlock, sandbox, system_calls
from aima_preprocessing.sandbox import Layer

MEMORY_BYTES = 1024**3

ATTEMPTS = {
    "reading a file": "open(sys.executable, 'rb').read(1)",
    "writing a file": "open(sys.argv[1] + '/made', 'wb').close()",
    "listing a folder": "os.listdir('/')",
    "making a folder": "os.mkdir(sys.argv[1] + '/made')",
    "a TCP socket": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "a UDP socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "a local socket": "socket.socketpair()",
    "starting a process": "os.fork() or os._exit(0)",
    "running a program": "os.execv('/bin/true', ['true'])",
    "a signal to the parent": "os.kill(os.getppid(), 0)",
    "looking into another process": "ctypes_check(libc.ptrace(0, 0, 0, 0), outside_errno=())",
    "memory to run code from": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "more memory than allowed": f"mmap.mmap(-1, {MEMORY_BYTES + 1})",
    "memory that is a file": "os.memfd_create('x')",
    "a namespace of its own": "ctypes_check(libc.unshare(0), outside_errno=())",
    "loading a module": "__import__('wave')",
}

HARMLESS = {
    "a thread": "thread = threading.Thread(target=print); thread.start(); thread.join()",
    "some memory": "bytearray(50_000_000)",
    "the time": "time.time(); time.sleep(0.001)",
    "randomness": "os.urandom(8)",
    "an open descriptor": "os.pread(already_open, 10, 0)",
}

FRAME = """
import ctypes, mmap, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def ctypes_check(answer, outside_errno):
    if answer < 0 and ctypes.get_errno() not in outside_errno:
        raise OSError(ctypes.get_errno(), "refused")
    if answer < 0 and boxed:
        raise PermissionError(ctypes.get_errno(), "refused")
already_open = os.open(sys.executable, os.O_RDONLY)
boxed = sys.argv[2] == "boxed"
if boxed:
    from aima_preprocessing import sandbox, system_calls
    assert system_calls.find_library()
    sandbox.enter(memory_bytes={memory}, cpu_seconds=10)
try:
    {attempt}
except (OSError, MemoryError, ImportError) as error:
    os.write(1, ("refused: " + type(error).__name__).encode())
    os._exit(1)
os._exit(0)
"""


def attempt(code: str, folder: Path, where: str) -> int:
    script = FRAME.format(memory=MEMORY_BYTES, attempt=textwrap.dedent(code))
    command = [sys.executable, "-c", script, str(folder), where]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, timeout=60).returncode


@pytest.mark.parametrize("code", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_what_works_outside_is_refused_inside(code: str, tmp_path: Path) -> None:
    assert attempt(code, tmp_path, "boxed") == 1
    assert attempt(code, tmp_path, "free") == 0


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_decoding_needs_works_inside(code: str, tmp_path: Path) -> None:
    assert attempt(code, tmp_path, "boxed") == 0


def test_too_much_processor_time_ends_the_process() -> None:
    code = (
        "from aima_preprocessing import sandbox, system_calls\n"
        "system_calls.find_library()\n"
        f"sandbox.enter(memory_bytes={MEMORY_BYTES}, cpu_seconds=0.1)\n"
        "while True: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -24  # SIGXCPU


def test_not_even_an_open_file_can_be_written(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from aima_preprocessing import sandbox, system_calls\n"
        "system_calls.find_library()\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(file, b'before')\n"
        f"sandbox.enter(memory_bytes={MEMORY_BYTES}, cpu_seconds=5)\n"
        "os.write(file, b'after')\n"
    )
    path = tmp_path / "file"
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 1
    assert path.read_bytes() == b"before"


def test_every_layer_holds_on_this_machine_and_says_so() -> None:
    layers = sandbox.try_layers()
    names = [layer.name for layer in layers]
    assert names == ["resource_limits", "capabilities", "no_new_privileges", "landlock", "seccomp"]
    assert all(layer.active for layer in layers), sandbox.missing(layers)
    assert sandbox.missing(layers) == ""


def test_layers_are_tried_whatever_the_process_holds_open() -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(Path(os.devnull).open("rb"))
        assert all(layer.active for layer in sandbox.try_layers())


def test_a_layer_that_cannot_be_put_up_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_landlock() -> None:
        raise OSError("the kernel offers no Landlock")

    monkeypatch.setattr(landlock, "give_up_files", no_landlock)
    layers = {layer.name: layer for layer in sandbox.try_layers()}
    assert layers["landlock"] == Layer("landlock", active=False, detail="the kernel offers no Landlock")
    assert layers["seccomp"].active
    assert sandbox.missing(tuple(layers.values())) == "landlock (the kernel offers no Landlock)"


def test_a_layer_that_is_put_up_and_does_not_hold_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "give_up_files", lambda: None)
    layers = {layer.name: layer for layer in sandbox.try_layers()}
    assert layers["landlock"] == Layer("landlock", active=False, detail="it does not hold")


@pytest.mark.parametrize(("forgive", "status"), [(False, 1), (True, 0)])
def test_a_missing_layer_keeps_a_process_from_starting_unless_the_operator_accepted_it(
    forgive: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_landlock() -> None:
        raise OSError("the kernel offers no Landlock")

    monkeypatch.setattr(landlock, "give_up_files", no_landlock)
    system_calls.find_library()
    child = os.fork()
    if child == 0:
        try:
            sandbox.enter(memory_bytes=2 * MEMORY_BYTES, cpu_seconds=5, forgive=forgive)
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
