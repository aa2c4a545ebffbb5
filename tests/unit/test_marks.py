"""The file of begun calls: what is written is what the agent reads, at any moment."""

from __future__ import annotations

import os
import pathlib

import pytest

from ipyactors.wire import marks
from ipyactors.wire.marks import Marks, log_start, read_marks, was_leaving

A, B = b"d1234567", b"w7654321"


def test_the_highest_begun_call_of_each_caller_is_read(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "m")
    written = Marks(path)
    assert read_marks(path) == {}
    written.mark(A, 1)
    written.mark(A, 2)
    written.mark(B, 2**40)
    assert read_marks(path) == {A: 2, B: 2**40}  # while the worker still has it mapped
    written.close()
    assert read_marks(path) == {A: 2, B: 2**40}
    assert os.path.getsize(path) == 98_336


def test_no_file_means_nothing_began(tmp_path: pathlib.Path) -> None:
    assert read_marks(str(tmp_path / "none")) == {}
    empty = tmp_path / "empty"
    empty.write_bytes(b"\x01")
    assert read_marks(str(empty)) == {}


def test_where_the_log_of_the_latest_task_begins_is_kept(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "m")
    assert log_start(path) == 0
    written = Marks(path)
    written.mark(A, 1)
    assert log_start(path) == 0
    written.note_log(2**33)
    written.mark(B, 1)
    assert log_start(path) == 2**33
    assert read_marks(path) == {A: 1, B: 1}
    assert not was_leaving(path)


def test_with_every_slot_taken_the_caller_that_was_silent_longest_gives_way(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "SLOTS", 3)
    path = str(tmp_path / "m")
    written = Marks(path)
    callers = [b"d%07d" % number for number in range(5)]
    for seq, caller in enumerate(callers, 1):
        written.mark(caller, seq)
    assert read_marks(path) == {callers[2]: 3, callers[3]: 4, callers[4]: 5}
    written.mark(callers[2], 9)
    written.mark(callers[2], 10)
    written.mark(callers[0], 6)
    assert read_marks(path) == {callers[2]: 10, callers[4]: 5, callers[0]: 6}
    written.mark(callers[2], 11)
    assert read_marks(path)[callers[2]] == 11


def test_a_process_id_of_another_length_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        Marks(str(tmp_path / "m")).mark(b"short", 1)


def test_a_process_that_ends_on_purpose_notes_it(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "marks")
    assert not was_leaving(path)
    marks = Marks(path)
    marks.mark(b"caller-1", 7)
    assert not was_leaving(path)
    marks.note_leaving()
    assert was_leaving(path)
    marks.mark(b"caller-2", 1)
    assert was_leaving(path)
    assert read_marks(path) == {b"caller-1": 7, b"caller-2": 1}
