"""Where the data of checkpoints lives: beside the log, in a folder, on a server, or with the head.

A store holds the data of one actor, and is used by one thread at a time. Which store is said by ``checkpoint_store``:

============================  ==========================================================================================
nothing                       the actor's own folder, beside its log; as safe as the log, and as gone if the disk is
``"kv"``                      the head's key-value store: up to 8 MiB each, reachable from every machine of the session
``"file:///path"``, a path    a folder, for example one that several machines share
``"sftp://user@host/path"``   a folder on another machine; needs paramiko: ``pip install "ipyactors[sftp]"``
``"s3://bucket/prefix"``      an object store; needs s3fs: ``pip install "ipyactors[s3]"``. The bucket must exist
``"gs://…"``, ``"az://…"`` …  whatever fsspec knows, with the package that it asks for
``"memory://name"``           the memory of the actor's process, for tests: gone with the process (see ``is_lasting``)
============================  ==========================================================================================

In a folder or on a server, an actor's data is in ``<url>/<actor id in hexadecimal>/<name>``. Folders are made.

A URL says where, not how to get in: passwords and keys do not belong into source code. fsspec takes the rest from its
configuration, ``~/.config/fsspec/*.json`` (another folder: ``FSSPEC_CONFIG_DIR``), or from the environment as it is
when ``init()`` is called: ``FSSPEC_<PROTOCOL>_<OPTION>``, as in ``FSSPEC_S3_ENDPOINT_URL=http://localhost:9000``,
``FSSPEC_SFTP_PORT=2222`` or ``FSSPEC_SFTP_KEY_FILENAME=/home/me/.ssh/id_backup``. Beside that, s3 reads what all of
AWS reads (``~/.aws``, ``AWS_PROFILE`` …), and sftp the keys in ``~/.ssh`` and those of the SSH agent. By default fsspec
trusts a host whose key it does not know.

**Safe** is data, when ``save`` has returned: in a folder of this machine, from a loss of power; elsewhere, as far as
the server's word goes, which is also asked for the size. What the data must be, digest included, is in the manifest,
beside the log, which has to be compared before anything is unpickled: others may be able to write to a store.
"""

from __future__ import annotations

import errno
import io
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ipyactors.durable import store_url
from ipyactors.durable.folder import TEMPORARY, Folder
from ipyactors.durable.store_url import check_url

__all__ = ["CheckpointStore", "Kv", "check_url", "open_store"]

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")

#: Object stores: their top level is a bucket, which is made on purpose and not because of a misspelt URL.
_HAVE_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "obs", "r2"})

_Result = TypeVar("_Result")


class CheckpointStore(Protocol):
    """The data of one actor's checkpoints. All methods raise OSError, whatever the store is, and nothing else.

    ``is_lasting``: what is saved outlives this process. Where it does not, a log has to be kept from the beginning on.
    """

    @property
    def is_lasting(self) -> bool:
        """Whether what is saved outlives this process."""
        ...

    def locate(self, name: str) -> str:
        """Return where data of that name is, or would be. Raises ValueError for a name that is no plain word.

        What it returns is short, names no server and holds no password.
        """
        ...

    def save(self, name: str, data: bytes) -> str:
        """Keep data under a name, instead of what has it, and return where it is; the data is safe then.

        After an error, data of that name may be there, whole or not, and saving again is right. Raises ValueError for a
        name that is no plain word.
        """
        ...

    def load(self, locator: str) -> bytes:
        """Return what was saved there; FileNotFoundError if there is nothing."""
        ...

    def remove(self, locator: str) -> None:
        """Remove what was saved there, whole or not; it is no error that there is nothing."""
        ...


class Kv(Protocol):
    """Values by key. All raise OSError."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value instead of the one that has the key; it is safe when this returns."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return a value, or None."""
        ...

    def delete(self, key: str) -> None:
        """Forget a value; it is no error that there is none."""
        ...


def open_store(url: str, folder: pathlib.Path, actor_id: bytes, kv: Kv) -> CheckpointStore:
    """Return the store of an actor whose own folder is ``folder``. Touches no disk and no network.

    Raises OptionError for a ``url`` that :func:`check_url` would refuse by its looks.
    """
    if not url:
        return _FolderStore(folder, "", "data-")
    place = f"{actor_id.hex()}/"
    if url == store_url.KV:
        return _KvStore(kv, place)
    protocol, path = store_url.split(url)
    if protocol == store_url.FILE:
        return _FolderStore(pathlib.Path(path), place, "", url)
    return _RemoteStore(url, protocol, place)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith(TEMPORARY):
        raise ValueError(
            f"a checkpoint's data cannot be called {name!r}: letters, digits, '-', '_' and '.' can be used"
        )
    return name


def _name_at(locator: str, place: str, prefix: str = "") -> str:
    """Return the name that is at a locator, which may come from a file that somebody has damaged. Raises OSError."""
    start = place + prefix
    name = locator.removeprefix(start)
    if not locator.startswith(start) or not _NAME.fullmatch(name):
        raise OSError(errno.EINVAL, f"{locator!r} is not where the data of a checkpoint of this actor can be")
    return prefix + name


class _FolderStore:
    """Files ``<path>/<place><prefix><name>`` of this machine, or of one whose disk it has mounted.

    ``url`` is what the user has said, which errors of saving repeat; empty for the actor's own folder.
    """

    is_lasting = True

    def __init__(self, path: pathlib.Path, place: str, prefix: str, url: str = "") -> None:
        self._folder = path / place
        self._place = place
        self._prefix = prefix
        self._url = url

    def locate(self, name: str) -> str:
        """See :class:`CheckpointStore`."""
        return self._place + self._prefix + _checked(name)

    def save(self, name: str, data: bytes) -> str:
        """Write, sync, rename, sync the folder."""
        locator = self.locate(name)
        file = locator.removeprefix(self._place)
        try:
            _make_folder(self._folder)
            Folder(self._folder).replace(file, data)
        except OSError as error:
            if not self._url:
                raise
            text = (
                f"{store_url.OPTION}={self._url!r}: the data of a checkpoint could not be saved there: {error.strerror}"
            )
            raise OSError(error.errno, text) from error
        return locator

    def load(self, locator: str) -> bytes:
        """Read the file."""
        return (self._folder / _name_at(locator, self._place, self._prefix)).read_bytes()

    def remove(self, locator: str) -> None:
        """Remove the file, also what a process has left of it that ended before it was whole."""
        file = _name_at(locator, self._place, self._prefix)
        for name in (file, file + TEMPORARY):
            (self._folder / name).unlink(missing_ok=True)


def _make_folder(path: pathlib.Path) -> None:
    """Make a folder with those that it is in, mode 0700, so that they survive a loss of power."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _KvStore:
    """Values of the head, under ``<place><name>``."""

    is_lasting = True

    def __init__(self, kv: Kv, place: str) -> None:
        self._kv = kv
        self._place = f"checkpoints/{place}"

    def locate(self, name: str) -> str:
        """See :class:`CheckpointStore`."""
        return self._place + _checked(name)

    def save(self, name: str, data: bytes) -> str:
        """Put the value."""
        key = self.locate(name)
        self._kv.put(key, data)
        return key

    def load(self, locator: str) -> bytes:
        """Get the value."""
        value = self._kv.get(self._place + _name_at(locator, self._place))
        if value is None:
            raise FileNotFoundError(errno.ENOENT, f"the head's key-value store has no value under {locator!r}")
        return value

    def remove(self, locator: str) -> None:
        """Delete the value."""
        self._kv.delete(self._place + _name_at(locator, self._place))


# By SFTP, fsspec waits for each block before it asks for the next: 8 MB to and from the same machine took 7.2 s to save
# and 1.8 s to load. With many under way, as paramiko's own functions have them, that is 0.03 and 0.07 s.


def _write(files: Any, path: str, data: bytes) -> None:
    put = getattr(getattr(files, "ftp", None), "putfo", None)
    if put is not None:
        put(io.BytesIO(data), path, confirm=False)  # the size is asked for anyway
    else:
        files.pipe_file(path, data)


def _read(files: Any, path: str) -> bytes:
    get = getattr(getattr(files, "ftp", None), "getfo", None)
    if get is None:
        return bytes(files.cat_file(path))
    data = io.BytesIO()
    get(path, data)
    return data.getvalue()


class _RemoteStore:
    """Files ``<url>/<place><name>`` of whatever fsspec can write to.

    The connection is made at the first use and kept. A server may have closed it meanwhile, so what fails on a kept
    connection is done once more on a new one, which is no different from doing it once.
    """

    def __init__(self, url: str, protocol: str, place: str) -> None:
        self._url = url
        self._place = place
        self._has_buckets = protocol in _HAVE_BUCKETS
        self.is_lasting = protocol != store_url.MEMORY
        self._connected: tuple[Any, str] | None = None
        self._has_folder = False

    def locate(self, name: str) -> str:
        """See :class:`CheckpointStore`."""
        return self._place + _checked(name)

    def save(self, name: str, data: bytes) -> str:
        """Write the file, and ask for its size."""
        locator = self.locate(name)

        def write(files: Any, path: str) -> None:
            if not self._has_folder and not self._has_buckets:
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._has_folder = True
            _write(files, path, data)
            size = files.info(path)["size"]
            if size != len(data):
                raise OSError(errno.EIO, f"{len(data):,} bytes were written, and {size:,} are there")

        self._do("saved", locator, write)
        return locator

    def load(self, locator: str) -> bytes:
        """Read the file."""
        data: bytes = self._do("loaded", locator, _read)
        return data

    def remove(self, locator: str) -> None:
        """Remove the file."""

        def remove(files: Any, path: str) -> None:
            try:
                files.rm_file(path)
            except Exception:  # what is raised for a file that is not there, each kind of server has its own idea of
                if files.exists(path):
                    raise

        self._do("removed", locator, remove)

    def _do(self, done: str, locator: str, act: Callable[[Any, str], _Result]) -> _Result:
        _name_at(locator, self._place)
        while True:
            is_new = self._connected is None
            try:
                files, base = self._connected = self._connected or self._connect()
                return act(files, f"{base}/{locator}")
            except Exception as error:
                self._connected = None
                if is_new or isinstance(error, (FileNotFoundError, PermissionError)):
                    raise self._failed(done, locator, error) from error

    def _connect(self) -> tuple[Any, str]:
        import fsspec.core

        # fsspec would hand out the same connection again, also when it is broken.
        files, base = fsspec.core.url_to_fs(self._url, skip_instance_cache=True)
        self._has_folder = False
        return files, base.rstrip("/")

    def _failed(self, done: str, locator: str, error: Exception) -> OSError:
        number = errno.ENOENT if isinstance(error, FileNotFoundError) else getattr(error, "errno", None)
        url = store_url.shown(self._url)
        text = (
            f"{store_url.OPTION}={url!r}: the data of a checkpoint could not be {done} at {url.rstrip('/')}/{locator}: "
            f"{type(error).__name__}: {error}"
        )
        return OSError(number if isinstance(number, int) else errno.EIO, text)
