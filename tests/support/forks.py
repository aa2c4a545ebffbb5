"""Code of a test that runs in a forked child: quick to start, and it can be killed at any point."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any


class Forked:
    """A child that runs ``act``; what it returns is asked for with :meth:`result`."""

    def __init__(self, act: Callable[[], Any]) -> None:
        readable, writable = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(readable)
                answer = pickle.dumps(act())
                with open(writable, "wb") as file:
                    file.write(answer)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writable)
        self._readable = readable

    def wait(self) -> int:
        """Wait for its end; return its exit status, or minus the signal that ended it."""
        with open(self._readable, "rb") as file:
            self._answer = file.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def result(self) -> Any:
        """Wait for its end and return what ``act`` returned."""
        status = self.wait()
        assert status == 0, f"the child ended with {status}"
        return pickle.loads(self._answer)
