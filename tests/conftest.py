"""What every test has: folders of the run's own, a session on request, and a look back that nothing was left."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests.support import seeds as _drawn_before_other_processes_start  # noqa: F401
from tests.support.leaks import RunFolders, find_leaks

# Where a commit is judged, the same examples each time: what new ones find is found, and mended, elsewhere. One that
# fails is shown as it was found: to make it smaller may take longer than a test has, and then nothing is shown.
settings.register_profile("judging", derandomize=True, phases=[Phase.explicit, Phase.reuse, Phase.generate])
if os.environ.get("CI"):
    settings.load_profile("judging")

# Set while this file is imported, so before any test file is: nothing may ever see the user's own sessions. Children
# write where they hang when they are ended by a fatal signal.
_folders = RunFolders.make()
_evidence: list[str] = []
os.environ.update(_folders.environment(), PYTHONFAULTHANDLER="1")

# A shell without job control has what it starts in the background ignore these, and children inherit that: how a run
# was started must not decide what a test about interrupts finds.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="session")
def run_folders() -> RunFolders:
    """The folders of this run, for tests that look for what a session leaves behind."""
    return _folders


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fail the run, at its end, if a process, a socket, shared memory or a folder outlives it."""
    yield
    if runtime_module := sys.modules.get("ipyactors.api.runtime"):
        runtime_module.shutdown()
    leaks = find_leaks(_folders)
    if leaks:
        _evidence.extend(leaks)
        pytest.fail("left behind by this run:\n  " + "\n  ".join(leaks), pytrace=False)


def pytest_unconfigure() -> None:
    """Remove the folders of this run, unless they hold evidence."""
    if not _evidence:
        _folders.remove()


@pytest.fixture
def runtime() -> Iterator[Any]:
    """``ipyactors`` with a session of two CPUs, ended after the test."""
    import ipyactors

    ipyactors.shutdown()
    ipyactors.init(num_cpus=2)
    yield ipyactors
    ipyactors.shutdown()


@pytest.fixture(scope="module")
def shared_runtime() -> Iterator[Any]:
    """``ipyactors`` with a session of two CPUs for all tests of a file; they must leave it as they found it."""
    import ipyactors

    ipyactors.shutdown()
    ipyactors.init(num_cpus=2)
    yield ipyactors
    ipyactors.shutdown()
