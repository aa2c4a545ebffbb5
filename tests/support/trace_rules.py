"""The rules of the Chrome trace event format, as far as viewers insist on them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

#: What an event of each phase must have beside its name, category, phase, place and time.
_NEEDED = {
    "X": {"dur": int, "args": dict},
    "i": {"s": str, "args": dict},
    "s": {"id": int},
    "f": {"id": int, "bp": str},
    "C": {"args": dict},
    "M": {"args": dict},
}
_EVERY = {"name": str, "cat": str, "ph": str, "pid": int, "tid": int, "ts": int}
_METADATA = {"process_name": "name", "thread_name": "name", "process_sort_index": "sort_index",
             "thread_sort_index": "sort_index"}  # fmt: skip


def check_trace(traced: Sequence[dict[str, Any]]) -> None:
    """Raise AssertionError for what a viewer would refuse, drop, or draw in a wrong place."""
    json.dumps(traced, allow_nan=False)
    for one in traced:
        for key, kind in {**_EVERY, **_NEEDED[one["ph"]]}.items():
            assert type(one[key]) is kind, f"{key} of {one}"
        assert one["ts"] >= 0, one
        assert one["pid"] > 0, f"0 is the idle process to Perfetto: {one}"
        if one["ph"] not in {"M", "C"}:
            assert one["tid"] > 0, f"0 is the idle thread to Perfetto: {one}"
        if one["ph"] == "i":
            assert one["s"] in {"g", "p", "t"}, one
        if one["ph"] == "C":
            assert all(type(value) in {int, float} for value in one["args"].values()), one
    _check_names(traced)
    slices = _check_slices(traced)
    _check_arrows(traced, slices)
    rest = [one["ts"] for one in traced if one["ph"] != "M"]
    assert rest == sorted(rest), "not in the order of time"


def _check_names(traced: Sequence[dict[str, Any]]) -> None:
    named: set[tuple[str, int, int]] = set()
    for one in traced:
        if one["ph"] == "M":
            assert set(one["args"]) == {_METADATA[one["name"]]}, one
            key = (one["name"], one["pid"], one["tid"])
            assert key not in named, f"named twice: {one}"
            named.add(key)
    for one in traced:
        if one["ph"] == "M":
            continue
        assert ("process_name", one["pid"], 0) in named, one
        if one["ph"] != "C":
            assert ("thread_name", one["pid"], one["tid"]) in named, one
    homes: dict[int, int] = {}
    for name, pid, tid in named:
        if name == "thread_name":
            assert homes.setdefault(tid, pid) == pid, "a thread belongs to one process"


def _check_slices(traced: Sequence[dict[str, Any]]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    slices: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for one in traced:
        if one["ph"] == "X":
            assert one["dur"] >= 0, one
            slices[one["pid"], one["tid"]].append((one["ts"], one["ts"] + one["dur"]))
    for place, found in slices.items():
        found.sort()
        for (_, end), (start, _) in pairwise(found):
            assert end <= start, f"slices overlap on {place}"
    return slices


def _check_arrows(traced: Sequence[dict[str, Any]], slices: dict[tuple[int, int], list[tuple[int, int]]]) -> None:
    ends: defaultdict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for one in traced:
        if one["ph"] in {"s", "f"}:
            assert one["ph"] not in ends[one["id"]], f"twice: {one}"
            ends[one["id"]][one["ph"]] = one
    for arrow in ends.values():
        assert set(arrow) == {"s", "f"}, f"half an arrow: {arrow}"
        assert arrow["s"]["ts"] <= arrow["f"]["ts"], arrow
        for one in arrow.values():
            there = slices[one["pid"], one["tid"]]
            assert any(start <= one["ts"] < max(end, start + 1) for start, end in there), f"no slice is there: {one}"
