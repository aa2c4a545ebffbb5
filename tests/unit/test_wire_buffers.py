"""Which memory of a value stays outside of its pickle, and arrives as a read-only view of what it came in."""

from __future__ import annotations

import gc
import pathlib
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ipyactors.wire import serialize

N = 100_000


def parts(value: Any) -> tuple[int, list[int]]:
    """Return how long the pickle is and each of its buffers."""
    payload = serialize.dumps(value)
    return len(payload.data), [view.nbytes for view in payload.buffers]


def sent(value: Any) -> Any:
    """Return a value as it arrives from a store: what it was made of may be overwritten."""
    return serialize.loads(serialize.owned(serialize.dumps(value)))


def root_of(array: Any) -> Any:
    """Return whose memory an array has."""
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base


RECORDS = np.zeros(N // 10, dtype=[("when", "M8[s]"), ("value", "f8")])
RECORDS["when"] = np.arange(N // 10)

ARRAYS: dict[str, np.ndarray] = {
    "float": np.arange(N, dtype=np.float64),
    "half": np.ones(N, dtype=np.float16),
    "bool": np.zeros(N, dtype=bool),
    "complex": np.ones(N, dtype=np.complex64),
    "long double": np.ones(N, dtype=np.longdouble),
    "big-endian": np.arange(N, dtype=">f8"),
    "bytes": np.array([b"abc"] * N),
    "text": np.array(["abc"] * N),
    "records": np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]),
    "records with dates": RECORDS,
    "records with dates, Fortran": np.asfortranarray(RECORDS.reshape(100, -1)),
    "dates": np.arange(N).astype("M8[s]"),
    "big-endian dates": np.arange(N).astype(">M8[ms]"),
    "dates, Fortran": np.asfortranarray(np.arange(N).reshape(100, -1).astype("M8[D]")),
    "every other date": np.arange(2 * N).astype("M8[s]")[::2],
    "spans": np.arange(N).astype("m8[ns]"),
    "Fortran": np.asfortranarray(np.arange(2 * N).reshape(400, 500)),
    "transposed": np.ones((300, 400)).T,
    "axes in another order": np.arange(60_000.0).reshape(30, 40, 50).transpose(1, 2, 0),
    "dates, axes in another order": np.arange(60_000).astype("M8[s]").reshape(30, 40, 50).transpose(2, 0, 1),
    "with gaps": np.arange(2 * N)[::2],
    "reversed": np.arange(N)[::-1],
    "broadcast": np.broadcast_to(np.ones(1), (N,)),
    "a block of a matrix": np.arange(250_000.0).reshape(500, 500)[100:300, 50:250],
    "windows": np.lib.stride_tricks.sliding_window_view(np.arange(20_000.0), 5),
    "matrix": np.arange(90_000.0).reshape(300, 300).view(np.matrix),
    "record array": np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]).view(np.recarray),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_memory_of_an_array_stays_outside_whatever_its_kind(name: str) -> None:
    array = ARRAYS[name]
    pickled, outside = parts({"x": array})
    assert outside == [array.nbytes]
    assert pickled < 1_000
    arrived = sent({"x": array})["x"]
    assert type(arrived) is type(array)
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(arrived, array)
    assert not arrived.flags.writeable
    assert isinstance(root_of(arrived), memoryview)
    with pytest.raises(ValueError, match="WRITEABLE"):
        arrived.flags.writeable = True


@pytest.mark.parametrize("name", ["Fortran", "transposed", "axes in another order", "dates, Fortran"])
def test_an_array_without_gaps_is_not_copied_and_keeps_its_order(name: str) -> None:
    array = ARRAYS[name]
    (buffer,) = serialize.dumps(array).buffers
    assert np.shares_memory(np.frombuffer(buffer, dtype="u1"), array)
    assert sent(array).strides == array.strides


def test_objects_in_arrays_are_pickled() -> None:
    array = np.array([{"a": 1}, None] * N)
    assert parts(array)[1] == []
    assert sent(array)[:2].tolist() == [{"a": 1}, None]
    assert sent(array[::2]).tolist() == [{"a": 1}] * N


@pytest.mark.parametrize("is_hard", [True, False])
@pytest.mark.parametrize("mask", [np.ma.nomask, np.arange(N) % 2 == 0], ids=["no mask", "mask"])
def test_masked_arrays(mask: Any, is_hard: bool) -> None:
    array = np.ma.MaskedArray(np.arange(N, dtype=float), mask=mask, fill_value=7.0, hard_mask=is_hard)
    pickled, outside = parts(array)
    assert outside == [array.nbytes] + [N] * (mask is not np.ma.nomask)
    assert pickled < 1_000
    arrived = sent(array)
    assert type(arrived) is np.ma.MaskedArray
    np.testing.assert_array_equal(arrived.data, array.data)
    np.testing.assert_array_equal(np.ma.getmaskarray(arrived), np.ma.getmaskarray(array))
    assert (arrived.fill_value, arrived.hardmask, (arrived.mask is np.ma.nomask)) == (
        7.0,
        is_hard,
        mask is np.ma.nomask,
    )
    assert arrived.sum() == array.sum()
    with pytest.raises(ValueError, match="read-only"):
        arrived[1] = 3.0


def test_a_file_that_numpy_has_mapped_arrives_as_its_content(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(N))
    array = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert parts(array)[1] == [array.nbytes]
    arrived = sent(array)
    assert type(arrived) is np.memmap
    assert arrived.tolist() == list(range(N))


# -- what is large is decided by the sum ---------------------------------------------------------------------------


def test_many_small_arrays_that_are_much_together_stay_outside_all_of_them() -> None:
    value = [np.full(1_000, number) for number in range(100)]
    assert parts(value)[1] == [8_000] * 100
    arrived = sent(value)
    assert [array[0] for array in arrived] == list(range(100))
    assert not any(array.flags.writeable for array in arrived)


def test_the_small_array_before_the_large_one_stays_outside_too() -> None:
    value = {"small": np.ones(1_000), "large": np.arange(2 * N)[::2], "tiny": np.ones(3)}
    assert parts(value)[1] == [8_000, N * 8]
    arrived = sent(value)
    assert [array.flags.writeable for array in arrived.values()] == [False, False, True]


def test_arrays_that_are_little_together_are_the_receivers_own() -> None:
    for value in ([np.ones(1_000)] * 3, [np.arange(4_000)[::2], np.arange(2_000).astype("M8[s]"), np.ones(4_000)]):
        assert parts(value)[1] == []
        arrived = sent(value)
        arrived[0][0] = arrived[1][0] = arrived[2][0]
        assert all(array.flags.writeable for array in arrived)


def test_arrays_below_a_page_are_pickled_however_many() -> None:
    value = [np.ones(500) for _ in range(100)]
    assert parts(value)[1] == []
    assert all(array.flags.writeable for array in sent(value))


class _Counted:
    """Counts how often it is pickled, and a copy of what it has."""

    def __init__(self) -> None:
        self.times = 0

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        self.times += 1
        return _Counted, ()


def test_a_value_is_pickled_twice_at_most_and_names_what_it_has_once() -> None:
    counted = _Counted()
    noted: list[bytes] = []

    class Naming:
        def __reduce__(self) -> tuple[Any, tuple[()]]:
            noted.append(b"a")
            serialize.note_handle(b"a" * 12)
            return list, ()

    payload = serialize.dumps([counted, Naming(), *[np.ones(1_000) for _ in range(20)]])
    assert counted.times == len(noted) == 2
    assert payload.actor_ids == (b"a" * 12,)
    serialize.dumps([counted, np.ones(N)])
    assert counted.times == 3


# -- bytes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize(
    "dumps",
    [
        serialize.dumps,
        lambda value: serialize.dumps_result(value, "f"),
        lambda value: serialize.dumps_call((value, value), {}, what="f"),
        lambda value: serialize.dumps_call((), {"x": value}, what="f"),
    ],
    ids=["value", "result", "argument", "named argument"],
)
def test_large_bytes_are_not_copied_into_the_pickle(kind: type, dumps: Callable[[Any], Any]) -> None:
    value = kind(b"x" * N)
    payload = dumps(value)
    assert len(payload.data) < 1_000
    for buffer in payload.buffers:
        assert np.shares_memory(np.frombuffer(buffer, "u1"), np.frombuffer(value, "u1"))
    arrived = serialize.loads(serialize.owned(payload))
    if arrived.__class__ is tuple:
        args, kwargs = arrived
        assert [(type(item), item) for item in (*args, *kwargs.values())] == [(kind, value)] * len(args or kwargs)
    else:
        assert (type(arrived), arrived) == (kind, value)


def test_bytes_up_to_64_kib_and_what_must_be_in_one_piece_stay_inside() -> None:
    assert parts(bytes(65_536)) == (len(pickle.dumps(bytes(65_536), 5)), [])
    value = bytes(N)
    payload = serialize.dumps(value, in_band=True)
    assert payload.buffers == ()
    assert serialize.loads(payload) == value
    payload = serialize.dumps({"x": np.arange(N), "t": ARRAYS["dates"]}, in_band=True)
    assert payload.buffers == ()
    np.testing.assert_array_equal(serialize.loads(payload)["t"], ARRAYS["dates"])


def test_a_payload_alone_keeps_the_memory_of_a_value() -> None:
    gc.disable()
    try:
        array = np.ones(N)
        memory = weakref.ref(array)
        payload = serialize.dumps([array, np.ones(10)])
        del array
        assert memory() is not None
        del payload
        assert memory() is None
    finally:
        gc.enable()


# -- frames and tables ---------------------------------------------------------------------------------------------


def test_frames_with_dates_and_arrow_columns() -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    days = pd.date_range("2020", periods=N, freq="s")
    frame = pd.DataFrame(
        {
            "x": np.arange(N, dtype=float),
            "when": days,
            "zoned": days.tz_localize("Europe/Berlin"),
            "span": days - days[0],
            "kind": pd.Categorical(["a", "b"] * (N // 2)),
            "maybe": pd.array([1, None] * (N // 2), dtype="Int64"),
            "arrow": pd.array(range(N), dtype="int64[pyarrow]"),
            "text": pd.array(["abc"] * N, dtype="string[pyarrow]"),
        },
        index=days,
    )
    for part in (frame, frame.iloc[N // 4 : N // 2]):
        pickled, outside = parts(part)
        assert pickled < 10_000
        assert sum(outside) < 1.2 * part.memory_usage(deep=True).sum()
        arrived = sent(part)
        pd.testing.assert_frame_equal(arrived, part)
        for name in ("when", "zoned", "span"):
            values = arrived[name].array._ndarray
            assert not values.flags.writeable
            assert isinstance(root_of(values), memoryview)


def arrow_values() -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    numbers = pa.array(range(10 * N))
    return {
        "numbers": numbers,
        "bools": pa.array([True, None] * (5 * N)),
        "text": pa.array([str(number) for number in range(N)] * 10),
        "lists": pa.array([[1, 2], None, [3]] * N),
        "records": pa.array([{"a": 1, "b": "x"}, {"a": 2, "b": None}] * N),
        "kinds": pa.array(["a", "b", None] * (3 * N)).dictionary_encode(),
        "chunks": pa.chunked_array([numbers.slice(0, N), numbers.slice(N, 2 * N)]),
        "table": pa.table({"x": numbers, "text": pa.array(["abc"] * (10 * N))}),
        "batch": pa.record_batch({"x": numbers, "bits": pa.array([True] * (10 * N))}),
    }


@pytest.mark.parametrize("name", ["numbers", "bools", "text", "lists", "records", "kinds", "chunks", "table", "batch"])
def test_a_slice_of_arrow_data_does_not_take_the_rest_along(name: str) -> None:
    whole = arrow_values()[name]
    assert sent(whole).equals(whole)
    for offset, length in ((N + 3, N), (5, 10), (0, 0)):
        part = whole.slice(offset, length)
        pickled, outside = parts(part)
        assert pickled + sum(outside) < 1.3 * part.nbytes + 10_000
        assert sent(part).equals(part)


def test_whole_arrow_data_is_not_copied() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"x": np.arange(N), "text": ["abc"] * N})
    memory = [buffer for column in table.columns for buffer in column.chunk(0).buffers() if buffer]
    addresses = {np.frombuffer(view, "u1").ctypes.data for view in serialize.dumps(table).buffers}
    assert addresses == {buffer.address for buffer in memory}
