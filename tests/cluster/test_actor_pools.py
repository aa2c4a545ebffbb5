"""ActorPool, Queue and multiprocessing.Pool over real actors."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pathlib
import pickle
import queue
import signal
import threading
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDiedError, ActorError, GetTimeoutError, OptionError
from ipyactors.ground import faultpoints
from ipyactors.util import ActorPool
from ipyactors.util.multiprocessing import Pool, TimeoutError  # noqa: A004 - the standard library's name
from ipyactors.util.queue import Empty, Full, Queue
from tests.support.actors import PATIENCE_S, get, wait_for, wait_until_gone

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote
class Doubler:
    def double(self, number: int) -> int:
        return 2 * number

    def when_there(self, path: pathlib.Path) -> str:
        wait_for(path)
        return path.name


# -- ActorPool ---------------------------------------------------------------------------------------------------------


def test_a_pool_maps_over_its_actors_in_order_and_out_of_order() -> None:
    pool = ActorPool([Doubler.remote() for _ in range(2)])
    assert list(pool.map(lambda actor, value: actor.double.remote(value), range(30))) == [2 * n for n in range(30)]
    results = list(pool.map_unordered(lambda actor, value: actor.double.remote(value), range(30)))
    assert sorted(results) == [2 * n for n in range(30)]
    assert not pool.has_next()


def test_a_pool_hands_out_what_is_ready_and_keeps_what_is_late(tmp_path: pathlib.Path) -> None:
    pool = ActorPool([Doubler.remote() for _ in range(2)])
    for name in ("slow", "quick", "third"):
        pool.submit(lambda actor, path: actor.when_there.remote(path), tmp_path / name)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    (tmp_path / "quick").touch()
    assert pool.get_next_unordered(timeout=PATIENCE_S) == "quick"
    with pytest.raises(GetTimeoutError, match="Its call goes on"):
        pool.get_next_unordered(timeout=0)
    (tmp_path / "slow").touch()
    (tmp_path / "third").touch()
    assert {pool.get_next_unordered(timeout=PATIENCE_S) for _ in range(2)} == {"slow", "third"}
    with pytest.raises(StopIteration):
        pool.get_next()
    taken = pool.pop_idle()
    assert taken is not None
    pool.push(taken)
    with pytest.raises(ValueError, match="belongs to the pool already"):
        pool.push(taken)


def test_a_dead_actor_of_a_pool_fails_its_own_call_only() -> None:
    actors = [Doubler.remote() for _ in range(2)]
    pool = ActorPool(actors)
    ia.kill(actors[0])
    for number in range(2):
        pool.submit(lambda actor, value: actor.double.remote(value), number)
    with pytest.raises(ActorError):
        pool.get_next(timeout=PATIENCE_S)
    assert pool.get_next(timeout=PATIENCE_S) == 2


def test_a_pool_travels_to_a_task() -> None:
    pool = ActorPool([Doubler.remote()])

    @ia.remote
    def use(pool: ActorPool) -> list[int]:
        return list(pool.map(lambda actor, value: actor.double.remote(value), range(3)))

    assert get(use.remote(pool)) == [0, 2, 4]


# -- Queue -------------------------------------------------------------------------------------------------------------


def test_a_queue_between_processes_keeps_the_order_and_its_size() -> None:
    line = Queue(maxsize=3)

    @ia.remote(num_cpus=0)
    def produce(line: Queue) -> None:
        for number in range(20):
            line.put(number)

    ref = produce.remote(line)
    assert [line.get(timeout=PATIENCE_S) for _ in range(20)] == list(range(20))
    get(ref)
    assert line.empty()
    for number in range(3):
        line.put_nowait(number)
    assert (line.full(), len(line), line.qsize()) == (True, 3, 3)
    with pytest.raises(Full):
        line.put(3, timeout=0.01)
    with pytest.raises(queue.Full):
        line.put_nowait_batch([1, 2])
    assert line.get_nowait_batch(2) == [0, 1]
    line.put_nowait_batch([8, 9])
    assert line.get_nowait_batch(3) == [2, 8, 9]
    with pytest.raises(Empty):
        line.get_nowait()
    with pytest.raises(queue.Empty):
        line.get(timeout=0.01)
    copy = pickle.loads(pickle.dumps(line))
    line.shutdown()
    for one in (line, copy):
        with pytest.raises(ActorDiedError, match=r"^Queue\(#\d+, maxsize=3\) has ended: it was shut down\. ") as caught:
            one.put(1)
        assert "_QueueActor" not in str(caught.value)


def test_a_queue_whose_process_was_killed_says_so() -> None:
    line = Queue(actor_options={"name": "line"})
    pid = get(line.actor.__ray_call__.remote(lambda _: os.getpid()))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ActorDiedError, match=r"^Queue\('line' #\d+\) has ended: the process .* was killed by SIGKILL"):
        line.get(timeout=PATIENCE_S)


def test_a_queue_in_an_event_loop() -> None:
    line = Queue()

    async def both() -> list[int]:
        taking = [asyncio.ensure_future(line.get_async()) for _ in range(10)]
        await asyncio.gather(*(line.put_async(number) for number in range(10)))
        return sorted(await asyncio.gather(*taking))

    assert asyncio.run(both()) == list(range(10))
    with pytest.raises(Empty, match="had no item when it was asked"):
        asyncio.run(line.get_async(block=False))
    line.shutdown(force=True)
    with pytest.raises(ActorDiedError, match="it was shut down"):
        asyncio.run(line.put_async(1))


def test_a_queue_cannot_be_durable() -> None:
    with pytest.raises(OptionError, match=r"durable='host': a Queue cannot be durable, .* No queue was made"):
        Queue(actor_options={"durable": "host"})
    line = Queue(actor_options={"durable": False})
    line.put(1)
    assert line.get(timeout=PATIENCE_S) == 1


def test_a_durable_actor_takes_from_a_queue_at_least_once(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Taker:
        def take(self, line: Queue) -> Any:
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                faultpoints.arm("durable.nested.received", "kill")
            return line.get()

    line = Queue()
    line.put_nowait_batch(["lost", "taken"])
    assert get(Taker.remote().take.remote(line)) == "taken"
    assert line.empty()


# -- multiprocessing.Pool ----------------------------------------------------------------------------------------------


def square(number: int) -> int:
    return number * number


def test_the_verbs_of_a_process_pool() -> None:
    def power(base: int, exponent: int = 2) -> int:
        return base**exponent

    with Pool(2) as pool:
        assert pool.apply(power, (3,), {"exponent": 3}) == 27
        assert pool.map(lambda n: n * n, range(50)) == [n * n for n in range(50)]
        assert pool.starmap(power, [(2, 3), (3, 2)]) == [8, 9]
        assert list(pool.imap(power, range(20), chunksize=3)) == [n * n for n in range(20)]
        assert sorted(pool.imap_unordered(power, range(20))) == [n * n for n in range(20)]
        result = pool.map_async(power, range(10))
        result.wait(PATIENCE_S)
        assert result.ready()
        assert result.successful()
        assert result.get(PATIENCE_S) == [n * n for n in range(10)]
        assert pool.map(power, []) == []
    with pytest.raises(ValueError, match="closed"):
        pool.map(power, [1])


def test_callbacks_errors_and_timeouts_of_a_process_pool(tmp_path: pathlib.Path) -> None:
    def fail(number: int) -> None:
        raise ArithmeticError(number)

    def until(path: str) -> str:
        wait_for(pathlib.Path(path))
        return "came"

    heard: list[Any] = []

    def hear(value: Any) -> None:
        heard.append(value)

    with Pool(1) as pool:
        assert pool.apply_async(square, (4,), callback=hear).get(PATIENCE_S) == 16
        failed = pool.apply_async(fail, (5,), error_callback=hear)
        with pytest.raises(ArithmeticError):
            failed.get(PATIENCE_S)
        assert not failed.successful()
        late = pool.apply_async(until, (str(tmp_path / "go"),))
        with pytest.raises(TimeoutError):
            late.get(timeout=0.01)
        with pytest.raises(multiprocessing.TimeoutError):
            late.get(timeout=0)
        with pytest.raises(ValueError, match="not ready"):
            late.successful()
        (tmp_path / "go").touch()
        assert late.get(PATIENCE_S) == "came"
        pool.close()
        pool.join()
    assert heard[0] == 16
    assert isinstance(heard[1], ArithmeticError)


def test_a_result_is_ready_after_its_callback_as_in_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    heard: list[Any] = []

    def hear(value: Any) -> None:
        entered.set()
        assert go_on.wait(PATIENCE_S)
        heard.append(value)

    def fail(number: int) -> None:
        raise ArithmeticError(number)

    with Pool(1) as pool:
        result = pool.apply_async(square, (4,), callback=hear)
        assert entered.wait(PATIENCE_S)
        assert not result.ready()
        result.wait(timeout=0)
        with pytest.raises(TimeoutError, match="its callback has not returned within 0 s"):
            result.get(timeout=0)
        go_on.set()
        assert result.get(PATIENCE_S) == 16
        assert heard == [16]
        failed = pool.apply_async(fail, (5,), error_callback=hear)
        with pytest.raises(ArithmeticError):
            failed.get(PATIENCE_S)
        assert isinstance(heard[1], ArithmeticError)
        go_on.clear()
        pool.map_async(square, [1, 2], callback=hear)
        pool.close()
        join_processes = pool._processes.join
        monkeypatch.setattr(pool._processes, "join", lambda: (join_processes(), go_on.set()))
        pool.join()
        assert heard[2:] == [[1, 4]]


def test_callbacks_may_wait_for_results_that_have_callbacks() -> None:
    heard: list[Any] = []
    with Pool(1) as pool:
        others = [pool.apply_async(square, (n,), callback=heard.append) for n in range(3)]
        first = pool.apply_async(square, (3,), callback=lambda _: heard.append([one.get(PATIENCE_S) for one in others]))
        last = pool.apply_async(square, (4,), callback=lambda _: heard.append((last.ready(), last.get(PATIENCE_S))))
        after = pool.apply_async(square, (5,), callback=lambda _: 1 / 0)
        pool.close()
        pool.join()
        assert first.get(PATIENCE_S) == 9
        assert after.get(PATIENCE_S) == 25
    assert heard == [0, 1, 4, [0, 1, 4], (True, 16)]


def test_the_processes_of_a_closed_pool_end_when_their_work_is_done() -> None:
    def pid(_number: int) -> int:
        return os.getpid()

    pool = Pool(2)
    late = pool.imap(pid, range(20))
    first = set(pool.map(pid, range(8), chunksize=1))
    pool.close()
    assert set(late) <= first, "what imap was given before is done by the same processes"
    for one in first:
        wait_until_gone(one)
    pool.terminate()
    pool.join()


def test_a_closed_pool_can_be_ended_at_once(tmp_path: pathlib.Path) -> None:
    pool = Pool(1)
    result = pool.apply_async(wait_for, (tmp_path / "never",))
    pool.close()
    pool.terminate()
    with pytest.raises(ActorError):
        result.get(PATIENCE_S)


def test_a_process_pool_survives_the_death_of_a_process(tmp_path: pathlib.Path) -> None:
    def crash_once(number: int) -> int:
        path = tmp_path / "crashed"
        if number == 7 and not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -number

    with Pool(2) as pool:
        assert pool.map(crash_once, range(20), chunksize=2) == [-number for number in range(20)]
    assert (tmp_path / "crashed").exists()


def test_initializer_and_maxtasksperchild() -> None:
    def prepare(word: str) -> None:
        os.environ["IPYACTORS_TEST_WORD"] = word

    def look(_number: int) -> tuple[str, int]:
        return os.environ["IPYACTORS_TEST_WORD"], os.getpid()

    with Pool(1, initializer=prepare, initargs=("hello",), maxtasksperchild=2) as pool:
        seen = pool.map(look, range(6), chunksize=1)
    assert {word for word, _ in seen} == {"hello"}
    pids = [pid for _, pid in seen]
    assert len(set(pids)) == 3
    assert all(pids.count(pid) == 2 for pid in pids)
