"""The state of an actor after a checkpoint: its arrays share memory, and lie in it, as they did before."""

from __future__ import annotations

import datetime as dt
import itertools
import mmap
import pickle
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from ipyactors.ground.exceptions import SerializationError
from ipyactors.wire import state


class Holder:
    """An actor's instance that has a value."""

    value: Any


def again(value: Any) -> Any:
    """Return a value as it is in a state after a checkpoint."""
    holder = Holder()
    holder.value = value
    return state.loads(state.dumps(holder, Holder), Holder).value


def size_of(value: Any) -> int:
    holder = Holder()
    holder.value = value
    return len(state.dumps(holder, Holder))


def is_same(one: Any, other: Any) -> bool:
    """Return whether two arrays have the same bytes in the same places."""
    return (
        type(one) is type(other)
        and (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
        and (one.flags.writeable, one.flags.aligned) == (other.flags.writeable, other.flags.aligned)
        and (one.strides == other.strides or not one.nbytes)
    )


def test_a_vector_and_its_named_parts_stay_one() -> None:
    flat = np.zeros(6)
    flat, weights, bias = again([flat, flat[:4].reshape(2, 2), flat[4:]])
    flat += 1
    assert weights.tolist() == [[1, 1], [1, 1]]
    assert bias.tolist() == [1, 1]
    assert weights.base is bias.base


def test_parts_stay_one_whichever_comes_first_and_without_the_whole() -> None:
    flat = np.arange(6.0)
    part, whole = again([flat[2:4], flat])
    whole[2] = 7
    assert part.tolist() == [7, 3]
    left, right = again([flat[:4], flat[2:]])
    left[3] = 9
    assert right.tolist() == [2, 9, 4, 5]


def test_what_is_restored_can_be_restored_again() -> None:
    flat = np.arange(6.0)
    value = [flat, flat[::-2], flat[:0]]
    for _ in range(3):
        value = again(value)
    value[0][:] = 3
    assert value[1].tolist() == [3, 3, 3]
    assert value[1].strides == (-16,)


BASE = np.arange(60.0)
PACKED = np.zeros(5, "u1,f8,S3")
PACKED["f1"] = 2.5
FORTRAN = np.asfortranarray(np.arange(12.0).reshape(3, 4))
ARRAYS: dict[str, Callable[[], Any]] = {
    "plain": lambda: np.arange(5),
    "column": lambda: np.arange(5).reshape(5, 1),
    "row in Fortran's order": lambda: np.asfortranarray(np.zeros((1, 5))),
    "Fortran's order": FORTRAN.copy,
    "kept order": lambda: np.zeros((2, 3, 4)).transpose(1, 0, 2).copy(order="K"),
    "no dimensions": lambda: np.array(3.5),
    "one element of many": lambda: BASE[7:8].reshape(()),
    "nothing": lambda: np.zeros((3, 0, 2)),
    "steps": lambda: BASE[1::3],
    "backwards": lambda: BASE[::-1],
    "turned": lambda: BASE.reshape(3, 20).T[::2],
    "the same in all rows": lambda: np.broadcast_to(np.arange(4.0), (1000, 4)),
    "the same everywhere": lambda: np.broadcast_to(np.float64(2), (10, 10)),
    "a window": lambda: np.lib.stride_tricks.sliding_window_view(BASE, 5),
    "not aligned": lambda: PACKED["f1"],
    "text in records": lambda: PACKED["f2"],
    "records": lambda: PACKED[::2],
    "some fields": lambda: PACKED[["f0", "f2"]],
    "dates": lambda: np.arange("2020-01", "2021-01", dtype="M8[M]")[::2],
    "text": lambda: np.array(["a", "bcd"])[::-1],
    "the other byte order": lambda: np.arange(9, dtype=">i4")[::2],
    "bits": lambda: np.array([True, False, True])[::2],
    "complex": lambda: (np.arange(5) * 2j).real,
    "halves": lambda: np.arange(9, dtype="f2")[1:],
    "long": lambda: np.arange(9, dtype=np.longdouble)[::2],
    "without a size": lambda: np.zeros(3, "S0"),
    "over bytes": lambda: np.frombuffer(b"12345678" * 2)[::-1],
    "over a mapping": lambda: np.frombuffer(mmap.mmap(-1, 4096), "u2")[3:9:2],
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("is_read_only", [False, True])
def test_an_array_is_as_it_was(name: str, is_read_only: bool) -> None:
    array = ARRAYS[name]()
    if is_read_only:
        array.flags.writeable = False
    restored = again(array)
    assert is_same(array, restored), (array.strides, restored.strides, array.flags, restored.flags)
    assert is_same(array, again(restored))


def test_objects_and_variable_text_are_pickled_as_ever() -> None:
    objects = np.array([1, "a", None], dtype=object)[::2]
    restored = again([objects, objects])
    assert restored[0] is restored[1]
    assert restored[0].tolist() == [1, None]
    mixed = np.zeros(2, [("a", "O"), ("b", "i4")])
    mixed["a"] = "text"
    assert again(mixed)["a"].tolist() == ["text", "text"]
    if hasattr(np.dtypes, "StringDType"):
        words = np.array(["a", "b" * 100], dtype=np.dtypes.StringDType())
        assert again(words).tolist() == words.tolist()


def test_an_array_is_one_object_wherever_it_is_met() -> None:
    array = np.arange(3)
    one, other = again([array, {"a": array}])
    assert other["a"] is one


def test_the_sum_of_an_array_with_gaps_is_the_same_to_the_last_bit() -> None:
    array = np.random.default_rng(0).normal(size=(300, 900)).T[::3].astype(np.float32)[:, ::2]
    restored = again(array)
    assert restored.sum().tobytes() == array.sum().tobytes()
    assert restored.strides == array.strides


def test_of_a_large_base_only_what_is_needed_is_kept() -> None:
    base = np.zeros(1_000_000)
    assert size_of([base[10:20], base[15:30], base[900_000:900_010]]) < 2_000
    rows = base.reshape(1000, 1000)
    first, second = rows[:, 0], rows[:, 1]
    assert size_of([first, second]) < 20_000  # each for itself: they have nothing in common
    restored = again([first, second])
    assert restored[0].strides == (8,)
    again_shared, alike = again([first, rows[::2, 0]])
    again_shared[2] = 5
    assert alike[1] == 5


def test_a_lone_array_with_wide_gaps_is_dense() -> None:
    assert again(np.arange(100.0)[::4]).strides == (32,)
    wide = np.arange(100.0)[::5]
    assert again(wide).strides == (8,)
    assert again(wide).tolist() == wide.tolist()


def test_what_could_be_resized_still_can_be() -> None:
    array = again(np.ones((2, 2)))
    array.resize(3, 2)
    assert array.tolist() == [[1, 1], [1, 1], [0, 0]]
    empty = again(np.zeros(0))
    empty.resize(2)
    assert empty.tolist() == [0, 0]


def test_what_is_read_only_stays_so_unless_it_could_be_changed() -> None:
    over_bytes = again(np.frombuffer(b"12345678"))
    with pytest.raises(ValueError, match="WRITEABLE"):
        over_bytes.flags.writeable = True
    whole = np.arange(3)
    part = whole[1:]
    part.flags.writeable = False
    whole, part = again([whole, part])
    with pytest.raises(ValueError, match="read-only"):
        part[0] = 4
    whole[1] = 4
    assert part.tolist() == [4, 2]
    part.flags.writeable = True
    part[1] = 5
    assert whole.tolist() == [0, 4, 5]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_kinds_of_arrays_stay_what_they_are_and_share() -> None:
    flat = np.arange(4.0)
    matrix = np.asmatrix(flat.reshape(2, 2))
    records = np.array([(1, 2.0), (3, 4.0)], "i4,f8")
    flat, matrix, records, by_name = again([flat, matrix, records, records.view(np.recarray)])
    flat += 1
    assert type(matrix) is np.matrix
    assert (matrix * matrix).tolist() == [[7, 10], [15, 22]]
    records["f0"] = 9
    assert type(by_name) is np.recarray
    assert by_name[0].f0 == 9
    masked = np.ma.array(np.arange(4.0), mask=[False, True, False, True], fill_value=-1.0)[::2]
    restored = again(masked)
    assert type(restored) is np.ma.MaskedArray
    assert (restored.tolist(), restored.mask.tolist(), restored.fill_value) == ([0, 2], [False, False], -1)


class Signal(np.ndarray):  # of the user
    pass


def test_a_users_kind_of_array_is_pickled_as_ever() -> None:
    restored = again(np.arange(4.0).view(Signal))
    assert type(restored) is Signal
    assert restored.tolist() == [0, 1, 2, 3]


class Temporary:
    """Says with new arrays what is in it."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __getstate__(self) -> Any:
        return {"value": np.full(3, self.value)}

    def __setstate__(self, kept: Any) -> None:
        self.value = float(kept["value"][0])  # which has its content by now


def test_arrays_that_are_only_made_to_be_pickled() -> None:
    assert [one.value for one in again([Temporary(n) for n in range(50)])] == list(range(50))


def test_a_state_without_arrays_and_one_that_is_cut_off() -> None:
    assert again({"a": [1, 2]}) == {"a": [1, 2]}
    holder = Holder()
    holder.value = np.arange(100)
    data = state.dumps(holder, Holder)
    for length in (0, 3, len(data) // 2, len(data) - 1):
        with pytest.raises(SerializationError, match="could not be unpickled"):
            state.loads(data[:length], Holder)


def test_the_arrays_cannot_be_taken_for_something_else() -> None:
    holder = Holder()
    holder.value = np.arange(100)
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(state.dumps(holder, Holder))


# -- pandas --------------------------------------------------------------------------------------------------------


def test_frames_that_look_like_copies_stay_copies() -> None:
    frame = pd.DataFrame({"a": np.arange(4.0), "b": np.arange(4.0)})
    column = frame["a"]
    other = frame.reset_index(drop=True)
    part = frame[1:3]
    frame, column, other, part = again([frame, column, other, part])
    frame.iloc[1, 0] = 99
    column.iloc[2] = 77
    assert frame["a"].tolist() == [0, 99, 2, 3]
    assert column.tolist() == [0, 1, 77, 3]
    assert other["a"].tolist() == [0, 1, 2, 3]
    assert part["a"].tolist() == [1, 2]


def test_a_frame_of_all_kinds_of_columns() -> None:
    frame = pd.DataFrame(
        {
            "float": [1.5, 2.5, 3.5],
            "int": [1, 2, 3],
            "more": [4, 5, 6],
            "bool": [True, False, True],
            "text": ["a", "b", "c"],
            "object": [[1], {"a": 2}, None],
            "date": pd.date_range("2020-01-01", periods=3),
            "zone": pd.date_range("2020-01-01", periods=3, tz="UTC"),
            "category": pd.Categorical(["x", "y", "x"]),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "period": pd.period_range("2020-01", periods=3, freq="M"),
            "delta": [dt.timedelta(n) for n in range(3)],
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
    )
    restored = again([frame, frame.T, frame["category"], frame.index, frame[::2]])
    pd.testing.assert_frame_equal(restored[0], frame)
    pd.testing.assert_frame_equal(restored[1], frame.T)
    pd.testing.assert_series_equal(restored[2], frame["category"])
    pd.testing.assert_index_equal(restored[3], frame.index)
    pd.testing.assert_frame_equal(restored[4], frame[::2])
    restored[0].loc[("a", 2), "float"] = 9
    restored[0]["new"] = restored[0]["float"] + 1
    assert restored[0]["new"].tolist() == [2.5, 10, 4.5]


def test_a_frame_shares_with_nothing_outside_of_it() -> None:
    flat = np.arange(6.0)
    flat, frame, part = again([flat, pd.DataFrame(flat.reshape(3, 2), copy=False), flat[2:]])
    flat[2] = 5
    assert frame.iloc[1, 0] == 2
    assert part[0] == 5


def test_arrays_beside_a_frame_still_share() -> None:
    flat = np.arange(6.0)
    frame = pd.DataFrame({"a": np.arange(3.0)})
    first, _, second = again([flat, frame, flat[2:]])
    first[2] = 5
    assert second[0] == 5


# -- any views -----------------------------------------------------------------------------------------------------


@st.composite
def views(draw: st.DrawFn, base: Any) -> Any:
    """Return a view of an array, of views of it: sliced, turned, in another shape, one field, the same in all rows."""
    array = base
    for _ in range(draw(st.integers(0, 4))):
        how = draw(st.sampled_from(["slice", "turn", "shape", "field", "rows", "read only"]))
        if how == "slice" and array.ndim:
            steps = st.sampled_from([-7, -3, -2, -1, 1, 1, 2, 3, 7])
            ends = st.none() | st.integers(-12, 12)
            array = array[tuple(slice(draw(ends), draw(ends), draw(steps)) for _ in range(array.ndim))]
        elif how == "turn":
            array = array.transpose(draw(st.permutations(range(array.ndim))))
        elif how == "shape" and array.flags.forc:
            array = array.reshape(draw(st.sampled_from([(-1,), (1, -1), (array.size, 1)])) if array.size else (0,))
        elif how == "field" and array.dtype.names:
            array = array[draw(st.sampled_from(array.dtype.names))]
        elif how == "rows" and array.ndim < 3:
            array = np.lib.stride_tricks.as_strided(array, (3, *array.shape), (0, *array.strides))
        elif how == "read only":
            array = array.view()
            array.flags.writeable = False
    return array


@st.composite
def groups(draw: st.DrawFn) -> list[Any]:
    """Return views of a few bases, some of the bases among them."""
    dtypes = st.sampled_from(["f8", "i2", "u1", "c16", ">f4", "M8[s]", "S5", "u1,f8,(2,)i4"])
    shapes = st.sampled_from([(), (24,), (5, 6), (2, 3, 4)])
    found: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        dtype, shape = np.dtype(draw(dtypes)), draw(shapes)
        size = dtype.itemsize * int(np.prod(shape))
        memory = bytes(itertools.islice(itertools.cycle(b"0123456789012"), size))
        base = np.ndarray(shape, dtype, memory, order=draw(st.sampled_from("CF"))).copy(order="K")
        found.extend(draw(st.lists(views(base), min_size=1, max_size=4)))
    return draw(st.permutations(found))


@settings(max_examples=300, deadline=None)
@given(groups())
def test_any_views_share_what_they_shared(before: list[Any]) -> None:
    after = again(before)
    for one, other in zip(before, after, strict=True):
        assert (one.dtype, one.shape, one.flags.writeable) == (other.dtype, other.shape, other.flags.writeable)
        assert one.tobytes() == other.tobytes()
        if one.nbytes and _span(one) <= 4 * one.nbytes:
            assert one.strides == other.strides
            assert one.flags.aligned == other.flags.aligned
    for i, j in itertools.combinations(range(len(before)), 2):
        assert np.shares_memory(before[i], before[j]) == np.shares_memory(after[i], after[j]), (i, j)
    for i, (one, other) in enumerate(zip(before, after, strict=True)):
        if one.flags.writeable and one.nbytes:
            value = np.frombuffer(bytes([65 + i]) * one.itemsize, one.dtype)[0]
            one[...] = value
            other[...] = value
            assert [array.tobytes() for array in before] == [array.tobytes() for array in after]


def _span(array: Any) -> int:
    ends = zip(array.shape, array.strides, strict=True)
    return int(array.itemsize + sum((length - 1) * abs(stride) for length, stride in ends))
