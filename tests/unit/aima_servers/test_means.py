import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aima_servers import NAMES, MeansMissingError, kafka, mongod, s3
from aima_servers.means import cache_folder, digest_of, kept, program, run

PIN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/aima/servers"


def test_the_cache_is_the_users(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/aima/servers"


def test_files_are_fetched_once_and_kept_under_their_name_version_and_hash(cache: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text("content")

    first, second = kept("server", "1.0", PIN, build), kept("server", "1.0", PIN, build)
    assert first == second == cache / "server-1.0-0123456789ab"
    assert (first / "file").read_text() == "content"
    assert len(built) == 1
    assert kept("server", "1.0", "f" * 64, build) != first


def test_what_could_not_be_fetched_whole_is_not_kept(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise MeansMissingError("the registry is away")

    with pytest.raises(MeansMissingError):
        kept("server", "1.0", PIN, fail)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []
    assert kept("server", "1.0", PIN, lambda folder: (folder / "whole").touch()).is_dir()


def test_two_who_want_the_same_fetch_it_once() -> None:
    built: list[Path] = []
    waits = threading.Barrier(2)

    def want() -> None:
        waits.wait()
        kept("server", "1.0", PIN, built.append)

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_other_bytes_or_names_have_another_digest(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    digest = digest_of([one, two])
    assert digest == digest_of([two, one])
    two.write_text("3")
    assert digest != digest_of([one, two])
    two.write_text("2")
    assert digest == digest_of([one, two.rename(tmp_path / "two")])
    assert digest != digest_of([one, two.rename(tmp_path / "other")])


def test_a_program_that_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program("sh", "install a shell")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MeansMissingError, match="sh is not on this machine's path; install a shell"):
        program("sh", "install a shell")
    with pytest.raises(MeansMissingError, match="java"):
        kafka.fetch()
    with pytest.raises(MeansMissingError, match="go is not on this machine's path; install Go"):
        s3.fetch(s3.VERSITYGW)


def test_a_machine_that_mongod_does_not_run_on_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(MeansMissingError, match="x86-64"):
        mongod.fetch()


def test_a_command_that_fails_is_quoted(tmp_path: Path) -> None:
    assert run(["sh", "-c", "echo fine > file; echo $MOOD"], tmp_path, {"MOOD": "good"}) == "good\n"
    assert (tmp_path / "file").read_text() == "fine\n"
    with pytest.raises(MeansMissingError, match=r"exit status 3(.|\n)*the reason"):
        run(["sh", "-c", "echo the reason >&2; exit 3"], tmp_path)


def test_an_unknown_server_is_refused_by_the_command() -> None:
    command = [sys.executable, "-m", "aima_servers", "up", "redis"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"unknown server: redis (known: {', '.join(NAMES)})" in done.stderr


def test_a_server_from_another_module_has_another_digest() -> None:
    said = "minio: go1.26.8\n\tpath\tm\n\tmod\tm\tv1\th1:a=\n\tdep\td\tv2\th1:b=\n\tbuild\t-buildmode=exe\n"
    digest = s3.digest_of_module(said)
    assert s3.digest_of_module(said.replace("go1.26.8", "go1.27.0").replace("exe", "pie")) == digest
    assert s3.digest_of_module(said.replace("h1:a=", "h1:c=")) != digest
    assert s3.digest_of_module(said + "\t=>\tfork\tv3\th1:d=\n") != digest


def test_what_was_built_from_another_module_than_pinned_is_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\n[ "$1" = install ] && touch "$GOBIN/made" || echo "mod m v1 h1:a="\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    pin = s3.digest_of_module("mod m v1 h1:a=")
    made = dataclasses.replace(s3.VERSITYGW, name="made", pin=pin)
    assert (s3.fetch(made) / "made").is_file()
    with pytest.raises(MeansMissingError, match="was expected"):
        s3.fetch(dataclasses.replace(made, pin="0" * 64))
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [f"made-{made.version}-{pin[:12]}"]
