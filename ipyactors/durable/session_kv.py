"""What the head of a session has kept, read from its file without the head."""

from __future__ import annotations

import contextlib
import errno
import pathlib
import sqlite3


class SessionKv:
    """Implements :class:`~ipyactors.durable.checkpoint_store.Kv`, to read: nothing is ever written.

    ``session`` is the folder of the session, which need not be live.
    """

    def __init__(self, session: pathlib.Path) -> None:
        self._path = session / "kv.sqlite"

    def get(self, key: str) -> bytes | None:
        """Return a value, or None. Raises OSError."""
        if not self._path.exists():
            raise FileNotFoundError(errno.ENOENT, f"the session's key-value store is not at {self._path}")
        try:
            with contextlib.closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
                row = connection.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise OSError(errno.EIO, f"{error}, in {self._path}") from error
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes) -> None:  # noqa: ARG002  (what a Kv has)
        """Refuse."""
        raise OSError(errno.EROFS, "it is only read here")

    def delete(self, key: str) -> None:  # noqa: ARG002  (what a Kv has)
        """Refuse."""
        raise OSError(errno.EROFS, "it is only read here")
