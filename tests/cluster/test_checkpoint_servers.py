"""Checkpoints on servers, saved and loaded by workers, which are told by the environment how to get in."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

import ipyactors as ia
from ipyactors.durable.checkpoint_store import CheckpointStore, Kv, open_store
from tests.support import servers
from tests.support.gates import LIMIT_S

ACTOR = bytes(range(16))


class NoKv:
    """Stands where the head's values are not asked for."""


def store_at(url: str) -> CheckpointStore:
    kv: Kv = NoKv()  # type: ignore[assignment]
    return open_store(url, pathlib.Path("/nonexistent"), ACTOR, kv)


@ia.remote(max_retries=0)
def save_and_die(url: str, data: bytes) -> None:
    store = store_at(url)
    store.save("one", b"before")
    store.save("one", data)
    os.kill(os.getpid(), 9)


@ia.remote
def load_and_remove(url: str) -> bytes:
    store = store_at(url)
    locator = f"{ACTOR.hex()}/one"
    data = store.load(locator)
    store.remove(locator)
    return data


@pytest.fixture
def sftp_url(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "sshd").mkdir()
    with servers.sshd(tmp_path / "sshd") as server:
        for option, value in server.client_options.items():
            monkeypatch.setenv(f"FSSPEC_SFTP_{option.upper()}", str(value).lower() if value is False else str(value))
        yield f"sftp://127.0.0.1{tmp_path}/served"


@pytest.fixture
def s3_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with servers.s3() as endpoint:
        fsspec.filesystem("s3", endpoint_url=endpoint, key="me", secret="mine", skip_instance_cache=True).mkdir(
            "bucket"
        )
        monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
        yield "s3://bucket/checkpoints"


@pytest.mark.parametrize("server", ["sftp_url", "s3_url"])
def test_a_worker_saves_and_dies_and_another_loads(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)
    runtime: Any = request.getfixturevalue("runtime")
    data = os.urandom(3_000_000)
    with pytest.raises(ia.exceptions.WorkerCrashedError):
        runtime.get(save_and_die.remote(url, data), timeout=LIMIT_S)
    assert runtime.get(load_and_remove.remote(url), timeout=LIMIT_S) == data
    with pytest.raises(FileNotFoundError):
        runtime.get(load_and_remove.remote(url), timeout=LIMIT_S)
