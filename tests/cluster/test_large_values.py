"""Values over 64 KiB: written once to shared memory, read where they are by every process of the machine."""

from __future__ import annotations

import asyncio
import gc
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ipyactors.exceptions import SessionError
from tests.support import anatomy
from tests.support.gates import LIMIT_S, until

N = 100_000  # float64: 800 kB


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def segments() -> set[str]:
    """Return the names of the values that are in shared memory now."""
    names = os.listdir(anatomy.paths().store_dir)
    return {name for name in names if len(name) == 40}


def is_mapped(array: np.ndarray) -> bool:
    """Return whether an array's memory is a file of the session's store."""
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            span, *_, path = line.rstrip("\n").split(None, 5) if line.count(" ") > 5 else (line.split()[0], "")
            low, high = (int(word, 16) for word in span.split("-"))
            if low <= address < high:
                return path.startswith(anatomy.paths().store_dir)
    return False


# -- there and back --------------------------------------------------------------------------------------------


def test_an_array_that_was_put_is_mapped_and_cannot_be_written(ia: Any) -> None:
    array = np.arange(N, dtype=np.float64)
    ref = ia.put(array)
    got = ia.get(ref)
    assert np.array_equal(got, array)
    assert is_mapped(got)
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1


def test_what_was_put_is_what_it_was_then(ia: Any) -> None:
    array = np.zeros(N)
    ref = ia.put(array)
    array[:] = 1
    assert not ia.get(ref).any()


def test_arguments_and_results_are_mapped_where_they_are_used(ia: Any) -> None:
    @ia.remote
    def double(array: np.ndarray) -> tuple[bool, np.ndarray]:
        writable = array.flags.writeable
        return writable, array * 2

    array = np.arange(N)
    writable, doubled = ia.get(double.remote(array), timeout=LIMIT_S)
    assert not writable
    assert np.array_equal(doubled, array * 2)
    assert is_mapped(doubled)
    again, _ = ia.get(double.remote(ia.put(array)), timeout=LIMIT_S)
    assert not again


def test_arguments_are_what_they_were_when_the_call_was_made(ia: Any) -> None:
    @ia.remote
    def total(array: np.ndarray) -> float:
        return float(array.sum())

    array = np.zeros(N)
    refs = []
    for value in range(5):
        array[:] = value
        refs.append(total.remote(array))
    assert ia.get(refs, timeout=LIMIT_S) == [value * N for value in range(5)]


def test_a_value_passes_from_worker_to_worker_without_the_driver_reading_it(ia: Any) -> None:
    @ia.remote
    def make() -> np.ndarray:
        return np.ones(N)

    @ia.remote
    class Keeper:
        def keep(self, array: np.ndarray) -> float:
            self.array = array
            return float(array.sum())

        def head(self) -> float:
            return float(self.array[0])

    keeper = Keeper.remote()
    assert ia.get(keeper.keep.remote(make.remote()), timeout=LIMIT_S) == N
    gc.collect()
    assert ia.get(keeper.head.remote(), timeout=LIMIT_S) == 1.0


def test_an_object_that_comes_home_as_an_argument_stays(ia: Any) -> None:
    """Its owner gets it like any other argument, and must not take it for a value that goes with the call."""

    @ia.remote
    class Home:
        def make(self) -> list[Any]:
            self.ref = ia.put(np.ones(N))
            return [self.ref]

        def total(self, array: np.ndarray) -> float:
            return float(array.sum())

        def own_total(self) -> float:
            return float(ia.get(self.ref).sum())

    home = Home.remote()
    (ref,) = ia.get(home.make.remote(), timeout=LIMIT_S)
    for _ in range(3):
        assert ia.get(home.total.remote(ref), timeout=LIMIT_S) == N
        assert ia.get(home.own_total.remote(), timeout=LIMIT_S) == N
    assert float(ia.get(ref, timeout=LIMIT_S).sum()) == N


def test_several_results_and_items_of_generators_are_stored_each_by_itself(ia: Any) -> None:
    @ia.remote(num_returns=3)
    def three() -> list[np.ndarray]:
        return [np.full(N, value) for value in range(3)]

    @ia.remote(num_returns="streaming")
    def stream(count: int) -> Any:
        for value in range(count):
            yield np.full(N, value)

    parts = ia.get(three.remote(), timeout=LIMIT_S)
    assert [int(part[-1]) for part in parts] == [0, 1, 2]
    assert all(map(is_mapped, parts))
    items = [ia.get(ref, timeout=LIMIT_S) for ref in stream.remote(4)]
    assert [int(item[0]) for item in items] == [0, 1, 2, 3]
    assert all(map(is_mapped, items))


def test_a_large_value_can_be_awaited_and_had_by_a_future(ia: Any) -> None:
    ref = ia.put(np.ones(N))

    async def wait() -> float:
        return float((await ref).sum())

    assert asyncio.run(wait()) == N
    assert float(ref.future().result(LIMIT_S).sum()) == N


def test_a_large_constructor_argument_is_there_again_after_a_crash(ia: Any) -> None:
    @ia.remote(max_restarts=1, max_task_retries=1)
    class Model:
        def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
            self.total = float(weights.sum() + bias.sum())

        def get(self) -> float:
            return self.total

        def crash(self) -> None:
            os._exit(1)

    bias = ia.put(np.ones(N))
    model = Model.remote(np.ones(N), bias)
    assert ia.get(model.get.remote(), timeout=LIMIT_S) == 2 * N
    del bias
    gc.collect()
    with pytest.raises(ia.exceptions.ActorError):
        ia.get(model.crash.options(max_task_retries=0).remote(), timeout=LIMIT_S)
    assert ia.get(model.get.remote(), timeout=LIMIT_S) == 2 * N


@pytest.mark.parametrize("size", [65_536, 65_537, 10_000_000])
def test_bytes_of_any_size(ia: Any, size: int) -> None:
    @ia.remote
    def echo(value: bytes) -> bytes:
        return value

    value = os.urandom(size)
    assert ia.get(ia.put(value)) == value
    assert ia.get(echo.remote(value), timeout=LIMIT_S) == value


def many_kinds() -> dict[str, tuple[Any, Callable[[Any], list[np.ndarray]]]]:
    """Return values, and how to get at the arrays that they should be views of the store with."""
    alone: Callable[[Any], list[np.ndarray]] = lambda value: [value]  # noqa: E731
    return {
        "nested": ({"a": np.arange(N), "b": [np.ones((300, 400)), "text"]}, lambda value: [value["a"], value["b"][0]]),
        "Fortran": (np.asfortranarray(np.arange(200_000).reshape(400, 500)), alone),
        "transposed": (np.ones((300, 400)).T, alone),
        "with gaps": (np.arange(400_000)[::2], alone),
        "reversed": (np.arange(N)[::-1], alone),
        "broadcast": (np.broadcast_to(np.ones(1), (N,)), alone),
        "dates": (np.arange(N).astype("M8[s]"), alone),
        "spans": (np.arange(N).astype("m8[ms]"), alone),
        "half": (np.ones(N, dtype=np.float16), alone),
        "records": (np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]), alone),
        "text": (np.array(["abc"] * N), alone),
        "masked": (np.ma.masked_array(np.ones(N), mask=np.zeros(N, bool)), lambda value: [value.data, value.mask]),
        "many": ([np.full(1_000, number) for number in range(1_000)], list),
    }


@pytest.mark.parametrize("name", many_kinds())
def test_arrays_of_any_kind_are_read_where_they_are(ia: Any, name: str) -> None:
    value, arrays_of = many_kinds()[name]

    @ia.remote
    def echo(value: Any) -> tuple[Any, list[bool]]:
        return value, [array.flags.writeable for array in arrays_of(value)]

    passed, could_write = ia.get(echo.remote(value), timeout=LIMIT_S)
    assert not any(could_write)
    for back in (passed, ia.get(ia.put(value))):
        np.testing.assert_equal(back, value)
        for array in arrays_of(back):
            assert is_mapped(array)
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[1]


def test_values_that_have_no_memory_to_share_arrive_as_copies(ia: Any) -> None:
    @ia.remote
    def echo(value: Any) -> Any:
        return value

    for value in (list(range(50_000)), "ä" * 100_000, bytearray(200_000)):
        assert ia.get(echo.remote(value), timeout=LIMIT_S) == value
    back = ia.get(ia.put(bytearray(200_000)))
    back[0] = 1
    small = ia.get(ia.put(np.ones(1_000)))
    small[0] = 2
    assert (back[0], small[0]) == (1, 2)


def test_a_frame_is_read_where_it_is_column_by_column(ia: Any) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")

    @ia.remote
    def total(frame: Any) -> tuple[float, bool]:
        return float(frame["x"].sum()), bool(frame["when"].array._ndarray.flags.writeable)

    days = pd.date_range("2020", periods=N, freq="s")
    frame = pd.DataFrame(
        {
            "x": np.arange(N, dtype=np.float64),
            "y": np.ones(N),
            "when": days,
            "span": days - days[0],
            "maybe": pd.array([1] * N, dtype="Int64"),
            "kind": pd.Categorical(["a", "b"] * (N // 2)),
            "arrow": pd.array(range(N), dtype="int64[pyarrow]"),
        }
    )
    assert ia.get(total.remote(frame), timeout=LIMIT_S) == (frame["x"].sum(), False)
    back = ia.get(ia.put(frame))
    pd.testing.assert_frame_equal(back, frame)
    for column in (
        back["x"].to_numpy(),
        back["y"].to_numpy(),
        back["when"].array._ndarray,
        back["span"].array._ndarray,
        back["maybe"].array._data,
        back["kind"].array._ndarray,
        back["arrow"].array._pa_array.chunk(0).to_numpy(zero_copy_only=True),
    ):
        assert is_mapped(column)
        assert not column.flags.writeable
    part = ia.get(ia.put(frame.iloc[N // 2 :]))
    pd.testing.assert_frame_equal(part, frame.iloc[N // 2 :])
    assert is_mapped(part["when"].array._ndarray)
    with pytest.raises(ValueError, match="read-only"):
        back.iloc[0, 0] = 5.0
    assert back["x"][0] == 0


def test_a_table_and_its_slice_are_read_where_they_are(ia: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"x": np.arange(10 * N), "y": np.ones(10 * N), "text": ["abc"] * (10 * N)})
    before = segments()
    refs = [ia.put(table.slice(N, N)), ia.put(table)]
    sizes = [os.stat(os.path.join(anatomy.paths().store_dir, name)).st_size for name in segments() - before]
    assert min(sizes) < max(sizes) / 5
    for ref, expected in zip(refs, (table.slice(N, N), table), strict=True):
        arrived = ia.get(ref)
        assert arrived.equals(expected)
        for name in ("x", "y"):
            assert is_mapped(arrived[name].chunk(0).to_numpy(zero_copy_only=True))
        assert is_mapped(np.frombuffer(arrived["text"].chunk(0).buffers()[2], "u1"))


# -- how long they live ----------------------------------------------------------------------------------------


def test_a_value_goes_when_its_last_reference_goes(ia: Any) -> None:
    before = segments()
    refs = [ia.put(np.full(N, value)) for value in range(5)]
    assert len(segments() - before) == 5
    del refs
    gc.collect()
    until(lambda: segments() <= before, "the segments are gone")


def test_a_view_outlives_its_reference_and_what_comes_after_it(ia: Any) -> None:
    first = ia.get(ia.put(np.full(N, 7.0)))
    gc.collect()
    for value in range(20):  # would be written over the first, were it not in use
        ia.put(np.full(N, value))
    assert (first == 7.0).all()
    part = ia.get(ia.put(np.arange(N)))[10:20]
    gc.collect()
    for value in range(20):
        ia.put(np.full(N, value))
    assert part.tolist() == list(range(10, 20))


def test_results_and_arguments_leave_nothing(ia: Any) -> None:
    @ia.remote
    def double(array: np.ndarray) -> np.ndarray:
        return array * 2

    before = segments()
    for _ in range(10):
        ia.get(double.remote(np.ones(N)), timeout=LIMIT_S)
    gc.collect()
    until(lambda: segments() <= before, "the segments of arguments and results are gone")


def test_a_steady_stream_of_puts_takes_no_more_memory_than_one(ia: Any) -> None:
    for value in range(300):
        ref = ia.put(np.full(N, value))
    assert ia.get(ref)[0] == 299
    assert len(segments()) <= 3


def test_a_worker_that_is_killed_while_it_maps_leaves_nothing(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote(max_retries=0)
    def hold(array: np.ndarray, begun: str) -> None:
        pathlib.Path(begun).touch()
        os.kill(os.getpid(), 9)

    before = segments()
    ref = ia.put(np.ones(N))
    with pytest.raises(ia.exceptions.WorkerCrashedError):
        ia.get(hold.remote(ref, str(tmp_path / "begun")), timeout=LIMIT_S)
    assert ia.get(ref).sum() == N
    del ref
    gc.collect()
    until(lambda: segments() <= before, "the segment is gone")


def test_a_value_does_not_outlive_its_session_but_a_view_does(runtime: Any) -> None:
    ref = runtime.put(np.ones(N))
    view = runtime.get(ref)
    store_dir = anatomy.paths().store_dir
    runtime.shutdown()
    assert not os.path.exists(store_dir)
    assert view.sum() == N
    with pytest.raises(SessionError, match=r"session that has ended"):
        runtime.get(ref, timeout=0)  # it is not asked for at the machine that it was on
