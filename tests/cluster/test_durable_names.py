"""What a durable actor's method calls is known by its name: what is imported or made there has other bytes later."""

from __future__ import annotations

import importlib
import math
import pathlib
import sys
from typing import Any

import pytest

import ipyactors as ia
from ipyactors import exceptions
from ipyactors.util import ActorPool, Queue, multiprocessing
from ipyactors.util.multiprocessing import Pool
from tests.support.durable import get, kill, recoveries

pytestmark = pytest.mark.usefixtures("shared_runtime")

_MODULE = """
import ipyactors as ia

@ia.remote
def square(x):
    return x * x

@ia.remote
class Counter:
    def __init__(self):
        self.count = 0

    def add(self, x):
        self.count += x
        return self.count

FUNCTION = "factorial"
CPUS = 2
"""


def _task(lib: Any) -> Any:
    return ia.get(lib.square.options(num_cpus=1).remote(3))


def _actor(lib: Any) -> Any:
    return ia.get(lib.Counter.remote().add.remote(3))


def _wrapped(lib: Any) -> Any:
    return ia.get(ia.remote(getattr(math, lib.FUNCTION)).remote(3))


def _lambda(_lib: Any) -> Any:
    return ia.get(ia.remote(lambda x: x * 3).remote(2))


def _task_made_there(_lib: Any) -> Any:
    @ia.remote
    def triple(x: int) -> int:
        return 3 * x

    return ia.get(triple.remote(2))


def _actor_made_there(_lib: Any) -> Any:
    @ia.remote
    class Twice:
        def of(self, x: int) -> int:
            return 2 * x

    return ia.get(Twice.remote().of.remote(4))


def _queue(_lib: Any) -> Any:
    queue = Queue(maxsize=1)
    queue.put(1)
    first = queue.get()
    assert "had no item" in _words_of(lambda: queue.get(timeout=0.01))
    return first, queue.empty()


def _ended_queue(_lib: Any) -> Any:
    queue = Queue()
    queue.put(1)
    queue.shutdown(force=True)
    return _words_of(queue.get)


def _actor_pool(lib: Any) -> Any:
    pool = ActorPool([lib.Counter.remote() for _ in range(2)])
    return list(pool.map(lambda actor, x: actor.add.remote(x), [1, 2, 3]))


def _process_pool(_lib: Any) -> Any:
    with Pool(2) as pool:
        mapped = pool.map(abs, [-1, 2, -3])
        return mapped, list(pool.imap(abs, [-4, 5])), sorted(pool.imap_unordered(abs, [-4, 5])), pool.apply(abs, [-6])


def _process_pool_that_is_closed(_lib: Any) -> Any:
    pool = Pool(1)
    result = pool.map_async(abs, [-1, 2, -3])
    pool.close()
    pool.join()
    return result.get()


def _process_pool_for_all_processors(_lib: Any) -> Any:
    with Pool() as pool:
        return pool.apply(abs, [-6])


def _process_pool_of_another_cluster(lib: Any) -> Any:
    multiprocessing.cluster_resources = lambda: {"CPU": lib.CPUS}  # type: ignore[attr-defined]
    with Pool() as pool:
        return repr(pool)


def _callback(_lib: Any) -> Any:
    with Pool(1) as pool:
        return _words_of(lambda: pool.map_async(abs, [-1], callback=print))


def _words_of(run: Any) -> str:
    try:
        return f"returned {run()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@ia.remote(durable=True)
class Caller:
    """Does one of these, with what is imported there from a file of the folder."""

    def do(self, what: Any, folder: str) -> Any:
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return what(importlib.import_module("names_of_a_module"))

    def nothing(self) -> None:
        pass


@pytest.mark.parametrize(
    ("what", "result"),
    [
        (_task, 9),
        (_actor, 3),
        (_wrapped, 6),
        (_lambda, 6),
        (_task_made_there, 6),
        (_actor_made_there, 8),
        (_queue, (1, True)),
        (_ended_queue, None),
        (_actor_pool, [1, 2, 4]),
        (_process_pool, ([1, 2, 3], [4, 5], [4, 5], 6)),
        (_process_pool_that_is_closed, [1, 2, 3]),
        (_process_pool_for_all_processors, 6),
    ],
)
def test_what_is_called_is_the_same_after_a_crash(what: Any, result: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "names_of_a_module.py").write_text(_MODULE)
    caller = Caller.remote()
    given = get(caller.do.remote(what, str(tmp_path)))
    assert result is None or given == result
    for deaths in (1, 2):
        kill(caller)
        get(caller.nothing.remote())
        assert len(recoveries(caller)) == deaths


def test_a_pool_has_as_many_processes_as_the_cluster_had_processors_then(tmp_path: pathlib.Path) -> None:
    (tmp_path / "names_of_a_module.py").write_text(_MODULE)
    caller = Caller.remote()
    assert "2 processes" in get(caller.do.remote(_process_pool_of_another_cluster, str(tmp_path)))
    (tmp_path / "names_of_a_module.py").write_text(_MODULE.replace("CPUS = 2", "CPUS = 31"))
    kill(caller)
    get(caller.nothing.remote())


def test_a_callback_of_a_pool_is_refused_and_the_refusal_is_the_same_after_a_crash(tmp_path: pathlib.Path) -> None:
    (tmp_path / "names_of_a_module.py").write_text(_MODULE)
    caller = Caller.remote()
    assert "NotReplayableError" in get(caller.do.remote(_callback, str(tmp_path)))
    kill(caller)
    get(caller.nothing.remote())


def test_a_method_that_calls_something_else_in_its_place_diverges(tmp_path: pathlib.Path) -> None:
    (tmp_path / "names_of_a_module.py").write_text(_MODULE)
    caller = Caller.remote()
    assert get(caller.do.remote(_wrapped, str(tmp_path))) == 6
    (tmp_path / "names_of_a_module.py").write_text(_MODULE.replace("factorial", "isqrt"))
    kill(caller)
    with pytest.raises(exceptions.RecoveryDivergedError, match="another call"):
        get(caller.nothing.remote())
