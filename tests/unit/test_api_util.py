"""ActorPool, Queue, multiprocessing.Pool, and Ray's names for all of it."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import queue
import re
from collections.abc import Iterator

import pytest

import ipyactors
from ipyactors.api.handles import ActorHandle
from ipyactors.exceptions import ActorDiedError, GetTimeoutError, OptionError
from ipyactors.util import ActorPool, Queue
from ipyactors.util.multiprocessing import Pool
from ipyactors.util.multiprocessing import TimeoutError as PoolTimeoutError
from tests.support.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


@ipyactors.remote
class Doubler:
    def double(self, x):
        if x < 0:
            raise ValueError("negative")
        return 2 * x


def double(actor, value):
    return actor.double.remote(value)


# -- ActorPool -------------------------------------------------------------------------------------------------


@pytest.fixture
def pool(engine: FakeEngine) -> ActorPool:
    return ActorPool([Doubler.remote(), Doubler.remote()])


def test_map(pool: ActorPool) -> None:
    assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]
    assert sorted(pool.map_unordered(double, range(5))) == [0, 2, 4, 6, 8]
    pool.submit(double, 100)
    assert list(pool.map(double, [1])) == [2], "results of earlier calls are dropped"


def test_submit_and_get_next(pool: ActorPool) -> None:
    assert pool.has_free()
    assert not pool.has_next()
    for value in (1, 2, 3):
        pool.submit(double, value)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    assert repr(pool) == "ActorPool(0 free, 2 busy, 1 calls waiting)"
    assert [pool.get_next(), pool.get_next(), pool.get_next()] == [2, 4, 6]
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_unordered_takes_what_is_ready(engine: FakeEngine, pool: ActorPool) -> None:
    pool.submit(double, 1)
    pool.submit(double, 2)
    engine.run_next(1)
    assert pool.get_next_unordered() == 4
    with pytest.raises(ValueError, match="cannot follow"):
        pool.get_next()
    assert pool.get_next_unordered() == 2
    pool.submit(double, 3)
    assert pool.get_next() == 6


def test_timeouts(pool: ActorPool) -> None:
    pool.submit(double, 1)
    with pytest.raises(GetTimeoutError, match="ask again"):
        pool.get_next(timeout=0)
    with pytest.raises(TimeoutError, match="ask again"):
        pool.get_next_unordered(timeout=0)
    assert pool.get_next() == 2
    for take in (pool.get_next, pool.get_next_unordered):
        pool.submit(double, 1)
        with pytest.raises(GetTimeoutError, match="dropped"):
            take(timeout=0, ignore_if_timedout=True)
        assert not pool.has_next()
    assert pool.has_free()


def test_an_error_frees_the_actor(pool: ActorPool) -> None:
    pool.submit(double, -1)
    with pytest.raises(ValueError, match="negative"):
        pool.get_next()
    assert pool.has_free()
    assert list(pool.map(double, [2])) == [4]


def test_push_and_pop(pool: ActorPool) -> None:
    actor = pool.pop_idle()
    assert actor is not None
    pool.submit(double, 1)
    pool.submit(double, 2)
    pool.push(actor)
    assert pool.get_next() == 2
    with pytest.raises(ValueError, match="belongs to the pool already"):
        pool.push(actor)


def test_a_pool_travels_with_its_actors(pool: ActorPool) -> None:
    pool.submit(double, 1)
    copy = pickle.loads(pickle.dumps(pool))
    assert list(copy.map(double, [3, 4])) == [6, 8]
    assert pool.get_next() == 2


def test_the_function_must_return_a_reference(pool: ActorPool) -> None:
    with pytest.raises(TypeError, match="must return one reference, not int"):
        pool.submit(lambda actor, value: value, 1)
    assert pool.has_free()


# -- Queue -----------------------------------------------------------------------------------------------------


def test_queue(engine: FakeEngine) -> None:
    items = Queue(maxsize=2, actor_options={"name": "q"})
    assert ipyactors.get_actor("q") == items.actor
    assert items.empty()
    items.put(1)
    items.put_nowait(2)
    assert items.full()
    assert (len(items), items.qsize()) == (2, 2)
    with pytest.raises(queue.Full, match=r"Queue\('q', maxsize=2\) had no room when it was asked\. The item was not"):
        items.put_nowait(3)
    with pytest.raises(ipyactors.util.Full, match=r"had no room within 0\.001 s"):
        items.put(3, timeout=0.001)
    copy = pickle.loads(pickle.dumps(items))
    assert [copy.get(), copy.get_nowait()] == [1, 2]
    with pytest.raises(queue.Empty, match=r"Queue\('q', maxsize=2\) had no item within 0\.001 s\. None was taken"):
        items.get(timeout=0.001)
    with pytest.raises(ipyactors.util.Empty, match="had no item when it was asked"):
        items.get_nowait()
    with pytest.raises(ValueError, match="timeout=-1"):
        items.get(timeout=-1)


def test_queue_batches(engine: FakeEngine) -> None:
    items = Queue(maxsize=3)
    items.put_nowait_batch([1, 2])
    with pytest.raises(queue.Full, match="None was added"):
        items.put_nowait_batch([3, 4])
    assert items.get_nowait_batch(2) == [1, 2]
    with pytest.raises(queue.Empty, match="None was taken"):
        items.get_nowait_batch(1)
    with pytest.raises(TypeError, match="not str"):
        items.get_nowait_batch("1")


def test_queue_shutdown(engine: FakeEngine) -> None:
    graceful, forced = Queue(), Queue()
    graceful.shutdown()
    forced.shutdown(force=True)
    assert engine.finished == [graceful.actor._ipyactors_client.actor_id]
    assert engine.killed == [(forced.actor._ipyactors_client.actor_id, True)]
    for use in (forced.qsize, forced.get_nowait, lambda: forced.put(1), lambda: forced.put_nowait_batch([1])):
        with pytest.raises(ActorDiedError, match=r"Queue\(\) has ended: it was shut down\. Its items are lost"):
            use()


def test_actors_of_queues_and_pools_have_names_that_people_know(engine: FakeEngine) -> None:
    queue, pool = Queue(), Pool(1)
    assert re.sub(r" #\d+", "", repr(queue.actor)) == "Actor(Queue)"
    assert {status.class_name for status in engine.statuses.values()} == {"Queue", "Pool process"}
    assert [type(pickle.loads(pickle.dumps(one))) for one in (queue, queue.actor)] == [Queue, ActorHandle]
    pool.terminate()


def test_waiting_in_the_queue_actor_loses_nothing() -> None:
    from ipyactors.util.queue import _QueueActor

    async def scenario() -> None:
        actor = _QueueActor(1)
        taking = asyncio.ensure_future(actor.get(None))
        await asyncio.sleep(0)
        assert await actor.put("a", None)
        assert await taking == (True, "a")
        assert await actor.put("b", 0.0)
        assert not await actor.put("c", 0.0)
        putting = asyncio.ensure_future(actor.put("d", None))
        await asyncio.sleep(0)
        assert await actor.get(0.0) == (True, "b")
        assert await putting
        assert await actor.get(0.0) == (True, "d")
        assert await actor.get(0.0) == (False, None)

    asyncio.run(scenario())


# -- multiprocessing.Pool --------------------------------------------------------------------------------------


def square(x):
    if x < 0:
        raise ValueError("negative")
    return x * x


def test_pool(engine: FakeEngine) -> None:
    with Pool(2) as processes:
        assert processes.apply(pow, (2, 3)) == 8
        assert processes.apply(int, ("11",), {"base": 2}) == 3
        assert processes.map(square, range(9)) == [x * x for x in range(9)]
        assert processes.map(square, []) == []
        assert processes.starmap(pow, [(2, 1), (2, 2)], chunksize=1) == [2, 4]
        assert list(processes.imap(square, iter(range(5)))) == [0, 1, 4, 9, 16]
        assert sorted(processes.imap_unordered(square, range(5), chunksize=2)) == [0, 1, 4, 9, 16]
        with pytest.raises(ValueError, match="negative"):
            processes.map(square, [1, -1])
    assert len(engine.killed) == 2
    with pytest.raises(ValueError, match="closed"):
        processes.map(square, [1])


def test_pool_results(engine: FakeEngine) -> None:
    processes = Pool(2)
    good, bad = [], []
    result = processes.map_async(square, range(4), 2, callback=good.append)
    failing = processes.apply_async(square, (-1,), error_callback=bad.append)
    assert not result.ready()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0)
    with pytest.raises(PoolTimeoutError):
        processes.imap(square, [1]).next(timeout=0)
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    result.wait()
    failing.wait()
    assert result.ready()
    assert result.successful()
    assert not failing.successful()
    assert (good, [str(error) for error in bad]) == ([[0, 1, 4, 9]], ["negative"])
    with pytest.raises(ValueError, match="still open"):
        processes.join()
    processes.close()
    processes.join()


def test_pool_processes(engine: FakeEngine) -> None:
    started: list[int] = []
    processes = Pool(1, initializer=_note_start, initargs=("x",), maxtasksperchild=2)
    processes.map(square, range(5), chunksize=1)
    assert len(engine.instances) == 3, "a process is replaced after two chunks"
    assert len(Pool()._processes) == 2, "one for each CPU of the cluster"
    assert engine.templates[0].max_restarts == -1
    assert not started
    for arguments, error in (({"processes": 0}, ValueError), ({"processes": "2"}, TypeError)):
        with pytest.raises(error, match="processes="):
            Pool(**arguments)
    with pytest.raises(TypeError, match="cannot be sent"):
        pickle.dumps(processes)


def _note_start(name: str) -> None:
    assert name == "x"


# -- Ray's names -----------------------------------------------------------------------------------------------


def test_rays_variable_for_lineage(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    import ipyactors.compat.ray as ray

    monkeypatch.setenv("RAY_max_lineage_bytes", "many")
    with pytest.raises(OptionError, match="RAY_max_lineage_bytes='many': takes a number of bytes"):
        ray.init()
    monkeypatch.setenv("RAY_max_lineage_bytes", "1000")
    ray.init()
    assert engine.started_with["max_lineage_bytes"] == 1000


def test_a_ray_program(engine: FakeEngine) -> None:
    import ipyactors.compat.ray as ray
    from ipyactors.compat.ray.util import ActorPool as RayActorPool
    from ipyactors.compat.ray.util.multiprocessing import Pool as RayPool
    from ipyactors.compat.ray.util.queue import Queue as RayQueue

    ray.init(ignore_reinit_error=True, include_dashboard=False, logging_level=30)
    ray.init(num_cpus=4, ignore_reinit_error=True)

    @ray.remote(max_retries=1)
    def f(x):
        return x + 1

    ready, rest = ray.wait([f.remote(1)], fetch_local=False)
    assert (ray.get(ready), rest) == ([2], [])
    assert ray.cloudpickle.loads(ray.cloudpickle.dumps(1)) == 1
    assert issubclass(ray.exceptions.ActorDiedError, ray.exceptions.RayActorError)
    assert ray.exceptions.RayActorError is ipyactors.exceptions.ActorError
    assert ray.util.ActorPool is RayActorPool is ActorPool
    assert RayQueue is Queue
    assert RayPool(1, ray_remote_args={"num_cpus": 1}).map(square, [2]) == [4]
    assert ray.actor.exit_actor is ipyactors.actor.exit_actor
    with pytest.raises(OptionError, match="no keyword 'num_cpu'"):
        ray.init(num_cpu=1)
    with pytest.raises(OptionError, match="local_mode"):
        ray.init(local_mode=True)
    ray.shutdown()
    assert not ray.is_initialized()
