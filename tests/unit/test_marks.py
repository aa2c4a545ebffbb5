"""The file of begun calls: what is written is what the agent reads, at any moment."""

from __future__ import annotations

import os
import pathlib

import pytest

from ipyactors.wire import marks
from ipyactors.wire.marks import Marks, read_marks, was_leaving

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
    assert os.path.getsize(path) == 65_544


def test_no_file_means_nothing_began(tmp_path: pathlib.Path) -> None:
    assert read_marks(str(tmp_path / "none")) == {}
    empty = tmp_path / "empty"
    empty.write_bytes(b"\x01")
    assert read_marks(str(empty)) == {}


def test_with_every_slot_taken_the_oldest_caller_gives_way(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "SLOTS", 3)
    path = str(tmp_path / "m")
    written = Marks(path)
    callers = [b"d%07d" % number for number in range(5)]
    for seq, caller in enumerate(callers, 1):
        written.mark(caller, seq)
    assert read_marks(path) == {callers[2]: 3, callers[3]: 4, callers[4]: 5}
    written.mark(callers[3], 9)
    assert read_marks(path)[callers[3]] == 9


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
