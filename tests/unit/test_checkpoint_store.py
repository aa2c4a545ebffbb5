"""Where checkpoints live: every store keeps the same promises, and fails in one way."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import fsspec
import fsspec.config
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from ipyactors.durable.checkpoint_store import CheckpointStore, check_url, open_store
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import OptionError
from ipyactors.head.shelf import DiskShelf
from tests.support import servers
from tests.support.head_scenario import MemoryShelf

ACTOR, OTHER = bytes(range(16)), b"o" * 16

#: Opens the store of an actor, each time as a new process would.
Open = Callable[[bytes], CheckpointStore]

KINDS = ("own", "file", "path", "kv", "memory", "sftp", "s3")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Sshd]:
    with servers.sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with servers.s3() as endpoint:
        yield endpoint


@pytest.fixture
def sftp_url(sshd: servers.Sshd, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(fsspec.config.conf, "sftp", sshd.client_options)
    return f"sftp://127.0.0.1{tmp_path}/served/deep"


@pytest.fixture
def s3_files(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The buckets, of which there is one."""
    access = {"endpoint_url": s3_endpoint, "key": "any", "secret": "any"}
    monkeypatch.setitem(fsspec.config.conf, "s3", access)
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    with contextlib.suppress(FileExistsError):
        files.mkdir("bucket")
    return files


@pytest.fixture(params=KINDS)
def opens(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Open:
    shelf = MemoryShelf()
    match request.param:
        case "own":
            url = ""
        case "file":
            url = f"file://{tmp_path}/shared/deep/"
        case "path":
            url = f"{tmp_path}/shared"
        case "sftp":
            url = request.getfixturevalue("sftp_url")
        case "s3":
            request.getfixturevalue("s3_files")
            url = "s3://bucket/some/prefix"
        case "memory":
            url = f"memory://{tmp_path.name}"
        case kind:
            url = kind
    return lambda actor_id: open_store(url, tmp_path / "actors" / actor_id.hex(), actor_id, shelf)


# -- the contract ------------------------------------------------------------------------------------------------


def test_what_is_saved_is_there_for_the_next_one_who_opens_the_store(opens: Open) -> None:
    values = {"first": b"1" * 100, "second.2-x_": os.urandom(3_000_000), "empty": b""}
    store = opens(ACTOR)
    places = {name: store.save(name, data) for name, data in values.items()}
    assert len(set(places.values())) == 3
    for reader in (store, opens(ACTOR)):
        assert {name: reader.load(place) for name, place in places.items()} == values


def test_saving_again_replaces(opens: Open) -> None:
    store = opens(ACTOR)
    place = store.save("one", b"long before")
    assert store.save("one", b"after") == place
    assert store.load(place) == b"after"


def test_what_is_removed_is_gone_and_may_be_removed_again(opens: Open) -> None:
    store = opens(ACTOR)
    gone, kept = store.save("gone", b"1"), store.save("kept", b"2")
    for remover in (store, store, opens(ACTOR)):
        remover.remove(gone)
    with pytest.raises(FileNotFoundError):
        store.load(gone)
    assert opens(ACTOR).load(kept) == b"2"
    store.save("gone", b"3")
    assert store.load(gone) == b"3"


def test_where_something_is_is_known_before_it_is_saved(opens: Open) -> None:
    """So it can be removed by who comes after a process that has ended on the way."""
    store = opens(ACTOR)
    place = store.locate("one")
    opens(ACTOR).remove(place)
    assert store.save("one", b"1") == place
    opens(ACTOR).remove(place)
    with pytest.raises(FileNotFoundError):
        store.load(place)


@pytest.mark.parametrize("url", ["", "path"])
def test_what_is_not_whole_is_removed_too(url: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path) if url else "", tmp_path / ACTOR.hex(), ACTOR, MemoryShelf())
    monkeypatch.setattr(pathlib.Path, "unlink", lambda *_args, **_facts: None)  # as if the process had ended before
    monkeypatch.setattr(os, "rename", lambda *_names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.save("one", b"1")
    monkeypatch.undo()
    assert len(list((tmp_path / ACTOR.hex()).iterdir())) == 1
    store.remove(store.locate("one"))
    assert not list((tmp_path / ACTOR.hex()).iterdir())


def test_nothing_was_ever_saved(opens: Open) -> None:
    saver, other = opens(OTHER), opens(ACTOR)
    place = saver.save("one", b"1")
    mine = place.replace(OTHER.hex(), ACTOR.hex())
    other.remove(mine)
    with pytest.raises(FileNotFoundError):
        other.load(mine)
    assert saver.load(place) == b"1"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "ü", "a\n", "x" * 300, "a.tmp"])
def test_a_name_is_a_plain_word(opens: Open, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        opens(ACTOR).save(name, b"")


@pytest.mark.parametrize("ending", ["", "/", "../x", "/etc/passwd", "x/y", "\0"])
def test_nothing_is_read_or_removed_elsewhere(opens: Open, ending: str) -> None:
    """A manifest may be damaged, or written by somebody who means harm."""
    store = opens(ACTOR)
    start = store.save("one", b"1").removesuffix("one")
    for locator in (start + ending, ending, OTHER.hex() + "/one"):
        with pytest.raises(OSError, match="is not where"):
            store.load(locator)
        with pytest.raises(OSError, match="is not where"):
            store.remove(locator)


def test_only_memory_is_not_lasting(opens: Open, request: pytest.FixtureRequest) -> None:
    assert opens(ACTOR).is_lasting == ("[memory]" not in request.node.name)


# -- folders -----------------------------------------------------------------------------------------------------


def test_a_file_is_synced_and_renamed_and_its_folders_are_synced(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(f"sync {pathlib.Path(os.readlink(f'/proc/self/fd/{descriptor}')).relative_to(tmp_path)}")

    def note_rename(source: pathlib.Path, target: pathlib.Path) -> None:
        rename(source, target)
        done.append(f"rename to {target.relative_to(tmp_path)}")

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    open_store(f"file://{tmp_path}/a", tmp_path, ACTOR, MemoryShelf()).save("one", b"1")
    folder = f"a/{ACTOR.hex()}"
    assert done == ["sync .", "sync a", f"sync {folder}/one.tmp", f"rename to {folder}/one", f"sync {folder}"]
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / folder)] == [0o700, 0o700]


@pytest.mark.parametrize("url", ["", "file://{}/shared"])
def test_a_full_disk_leaves_what_was_there(tmp_path: pathlib.Path, url: str) -> None:
    store = open_store(url.format(tmp_path), tmp_path / "own", ACTOR, MemoryShelf())
    place = store.save("one", b"before")
    faultpoints.arm("durable.replace.before_rename", "enospc")
    try:
        with pytest.raises(OSError) as caught:
            store.save("one", b"after")
    finally:
        faultpoints.disarm()
    assert caught.value.errno == errno.ENOSPC
    assert store.load(place) == b"before"
    assert not list(tmp_path.rglob("*.tmp"))


def test_opening_makes_nothing(tmp_path: pathlib.Path) -> None:
    for url in ("", f"file://{tmp_path}/shared", "sftp://nowhere.invalid/x", "s3://bucket/x", "kv"):
        open_store(url, tmp_path / "own", ACTOR, MemoryShelf())
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_should_be(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"{tmp_path}/file"):
        open_store(f"file://{tmp_path}/file/deep", tmp_path, ACTOR, MemoryShelf()).save("one", b"1")


# -- servers that fail -------------------------------------------------------------------------------------------


def test_a_connection_that_was_cut_is_made_again(sftp_url: str, sshd: servers.Sshd, tmp_path: pathlib.Path) -> None:
    store = open_store(sftp_url, tmp_path, ACTOR, MemoryShelf())
    place = store.save("one", b"1")
    sshd.cut_off()
    assert store.load(place) == b"1"
    sshd.cut_off()
    store.save("two", b"2")
    sshd.cut_off()
    store.remove(place)


def test_a_server_that_is_gone_and_comes_back(sftp_url: str, sshd: servers.Sshd, tmp_path: pathlib.Path) -> None:
    store = open_store(sftp_url, tmp_path, ACTOR, MemoryShelf())
    place = store.save("one", b"1")
    sshd.stop()
    try:
        for act in (lambda: store.save("two", b"2"), lambda: store.load(place), lambda: store.remove(place)):
            with pytest.raises(OSError, match=f"{sftp_url}/{ACTOR.hex()}/"):
                act()
    finally:
        sshd.start()
    assert store.load(place) == b"1"


def test_a_key_that_the_server_does_not_know(
    sftp_url: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    monkeypatch.setitem(fsspec.config.conf["sftp"], "key_filename", str(tmp_path / "other"))
    with pytest.raises(OSError, match="AuthenticationException"):
        open_store(sftp_url, tmp_path, ACTOR, MemoryShelf()).save("one", b"1")


def test_no_bucket_is_made_because_of_a_misspelt_url(s3_files: Any, tmp_path: pathlib.Path) -> None:
    store = open_store("s3://buckte/prefix", tmp_path, ACTOR, MemoryShelf())
    with pytest.raises(OSError, match="s3://buckte/prefix/"):
        store.save("one", b"1")
    assert s3_files.ls("") == ["bucket"]


def test_no_server_at_all(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = {
        "endpoint_url": "http://127.0.0.1:1",
        "key": "any",
        "secret": "any",
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", access)
    with pytest.raises(OSError, match="could not be saved at s3://bucket/"):
        open_store("s3://bucket", tmp_path, ACTOR, MemoryShelf()).save("one", b"1")


class Unreliable(MemoryFileSystem):
    """Raises what is in ``errors``, one after the other; ``loses``: of what is written so many bytes are not."""

    protocol = "unreliable"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    errors: ClassVar[list[BaseException]] = []
    loses = 0

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().pipe_file(path, value[: len(value) - self.loses])


@pytest.fixture
def unreliable(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> CheckpointStore:
    monkeypatch.setitem(_registry, "unreliable", Unreliable)
    for name, value in (("store", {}), ("pseudo_dirs", [""]), ("errors", []), ("loses", 0)):
        monkeypatch.setattr(Unreliable, name, value)
    return open_store("unreliable://me:secret@host/x", tmp_path, ACTOR, MemoryShelf())


@pytest.mark.parametrize(
    "error", [ValueError("odd"), RuntimeError("not fork-safe"), TimeoutError(), EOFError(), KeyError("size")]
)
def test_whatever_a_server_raises_is_an_oserror_without_the_password(
    unreliable: CheckpointStore, error: Exception
) -> None:
    Unreliable.errors = [error]
    with pytest.raises(OSError, match=f"could not be saved at unreliable://me:.*{type(error).__name__}") as caught:
        unreliable.save("one", b"1")
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)
    assert unreliable.load(unreliable.save("one", b"1")) == b"1"


def test_what_failed_on_a_kept_connection_is_done_once_more_and_not_again(unreliable: CheckpointStore) -> None:
    place = unreliable.save("one", b"1")
    Unreliable.errors = [EOFError()]
    unreliable.save("one", b"2")
    assert unreliable.load(place) == b"2"
    Unreliable.errors = [EOFError(), EOFError(), EOFError()]
    with pytest.raises(OSError, match="EOFError"):
        unreliable.save("one", b"3")
    assert len(Unreliable.errors) == 1
    assert unreliable.load(place) == b"2"


def test_an_interrupt_is_not_taken_for_a_failure(unreliable: CheckpointStore) -> None:
    Unreliable.errors = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        unreliable.save("one", b"1")


def test_what_did_not_arrive_whole_was_not_saved(unreliable: CheckpointStore) -> None:
    Unreliable.loses = 1
    with pytest.raises(OSError, match="4 bytes were written, and 3 are there"):
        unreliable.save("one", b"1234")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EFBIG, "too large")])
def test_what_the_head_refuses(tmp_path: pathlib.Path, error: OSError) -> None:
    shelf = MemoryShelf()
    store = open_store("kv", tmp_path, ACTOR, shelf)
    place = store.save("one", b"1")
    shelf.error = error
    for act in (lambda: store.save("two", b"2"), lambda: store.load(place), lambda: store.remove(place)):
        with pytest.raises(OSError, match=error.strerror):
            act()


# -- what may be asked for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kv",
        "/shared/x",
        "file:///shared",
        "local:///x",
        "sftp://me@host:22/x",
        "ssh://host/x",
        "s3://b",
        "ftp://h/x",
    ],
)
def test_what_can_be_used(url: str, recwarn: pytest.WarningsRecorder) -> None:
    check_url(url)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("checkpoints", r"write 'file:///.*/checkpoints'"),
        ("./x/../y", r"write 'file:///.*/y'"),
        ("~/x", f"write 'file://{pathlib.Path.home()}/x'"),
        ("KV", "write 'file:///.*/KV'"),
        ("file://shared/x", "three slashes.*'file:///shared/x'"),
        ("s3://", "names no place"),
        ("sftp:///", "names no place"),
        ("simplecache::s3://bucket/x", "not a chain"),
        ("s3://bucket/x?endpoint_url=http://h", r"FSSPEC_S3_<OPTION>"),
        ("https://host/x", "cannot be written to"),
        ("sfpt://host/x", "no protocol 'sfpt'. Did you mean .*'sftp'"),
        ("://x", "relative path"),
    ],
)
def test_what_cannot_be_used_and_what_to_write(url: str, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        check_url(url)
    assert "takes 'kv', or a URL such as" in str(caught.value)
    assert caught.value.option == "checkpoint_store"  # type: ignore[attr-defined]


def test_a_refusal_shows_no_password() -> None:
    with pytest.raises(OptionError) as caught:
        check_url("sfpt://me:pass@word@host/x")
    assert "pass" not in str(caught.value)
    assert "sfpt://me:***@host/x" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "module", "words"),
    [
        ("s3://bucket/x", "s3fs", r'pip install "ipyactors\[s3\]"'),
        ("sftp://host/x", "paramiko", r'pip install "ipyactors\[sftp\]"'),
        ("gs://bucket/x", "gcsfs", "gcsfs"),
        ("webhdfs://host/x", "requests", "requests"),
    ],
)
def test_a_package_that_is_missing_is_named(url: str, module: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, url.partition(":")[0], raising=False)
    for loaded in [name for name in sys.modules if name.startswith("fsspec.implementations.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError, match=words):
        check_url(url)


def test_memory_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="gone with the process .* replays its whole log"):
        check_url("memory://x")


def test_nothing_is_loaded_for_folders_and_the_head() -> None:
    code = """
import sys
from ipyactors.durable.checkpoint_store import check_url, open_store
for url in ("", "kv", "file:///shared"):
    check_url(url)
print(*(name for name in ("fsspec", "sqlite3", "asyncio") if name in sys.modules))
"""
    root = pathlib.Path(__file__).parents[2]
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
        == "\n"
    )


# -- the head's values, on its disk ------------------------------------------------------------------------------


def test_a_shelf_keeps_its_values(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "kv.sqlite"
    for turn in range(3):
        with contextlib.closing(DiskShelf(path)) as shelf:
            assert shelf.get("a") == (b"%d" % (turn - 1) if turn else None)
            shelf.put("a", b"%d" % turn)
            shelf.put("b", b"")
            assert shelf.get("b") == b""
            shelf.delete("b")
            shelf.delete("b")
            assert shelf.get("b") is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_shelf_that_is_not_used_leaves_no_file(tmp_path: pathlib.Path) -> None:
    DiskShelf(tmp_path / "kv.sqlite").close()
    assert not list(tmp_path.iterdir())


def test_a_shelf_that_fails_says_where_and_works_again_once_it_can(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "kv.sqlite"
    shelf = DiskShelf(path)
    shelf.put("a", b"1" * 100_000)
    whole = path.read_bytes()
    shelf.close()
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 100)
    for act in (lambda: shelf.put("a", b"2"), lambda: shelf.get("a"), lambda: shelf.delete("a")):
        with pytest.raises(OSError, match=f"not a database.*{path}"):
            act()
    path.write_bytes(whole)
    assert shelf.get("a") == b"1" * 100_000
    shelf.close()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match=str(path)):
        shelf.get("a")


def test_a_writer_that_is_killed_leaves_the_old_value_or_the_new(tmp_path: pathlib.Path) -> None:
    code = """
import itertools, pathlib, sys
from ipyactors.head.shelf import DiskShelf
shelf = DiskShelf(pathlib.Path(sys.argv[1]))
for n in itertools.count():
    shelf.put("a", b"%d," % (n % 10) * 500_000)
    print(n, flush=True)
"""
    path = tmp_path / "kv.sqlite"
    root = pathlib.Path(__file__).parents[2]
    for rounds in range(1, 6):
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(rounds):
                last = int(writer.stdout.readline())
            writer.kill()
            last = max([last, *map(int, writer.stdout.read().split())])
        with contextlib.closing(DiskShelf(path)) as shelf:
            assert shelf.get("a") in (b"%d," % (n % 10) * 500_000 for n in (last, last + 1))
