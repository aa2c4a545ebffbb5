"""Values on disk, by key: one SQLite file, which a process that dies in the middle of a write leaves whole.

SQLite's rollback journal is synced with the file before a transaction is over, and the folder with it
(``synchronous=EXTRA``): what was put survives a loss of power. The file is opened at the first request, so that a head
that keeps nothing neither loads SQLite nor writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

#: Seconds to wait for another process that has the file open: a backup, or somebody who looks at it.
_BUSY_S = 5.0

_TABLE = "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL)"


class DiskShelf:
    """Implements :class:`ipyactors.head.out.Shelf` in the file at ``path``, which is made with mode 0600."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None

    def put(self, key: str, value: bytes) -> None:
        """Keep a value; it is safe when this returns."""
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, value))

    def get(self, key: str) -> bytes | None:
        """Return a value, or None."""
        with self._connection() as connection:
            row = connection.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def delete(self, key: str) -> None:
        """Forget a value."""
        with self._connection() as connection:
            connection.execute("DELETE FROM kept WHERE key = ?", (key,))

    def close(self) -> None:
        """Close the file."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction. After an error it is opened anew: what failed may be mended."""
        import sqlite3

        try:
            if self._opened is None:
                self._opened = self._open()
            with self._opened:
                yield self._opened
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self.close()
            is_full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            number = errno.ENOSPC if is_full else errno.EIO
            raise OSError(number, f"{error}, in {self._path}") from error
        except OSError as error:  # the file could not be made
            raise OSError(error.errno or errno.EIO, f"{error.strerror}, in {self._path}") from error

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_S)
        try:
            for pragma in ("synchronous=EXTRA", "fullfsync=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
        return connection
