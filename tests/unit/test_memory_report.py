"""From what everybody has said to rows and tables, and the command that prints them."""

from __future__ import annotations

import html.parser
import json
import os
import pathlib
from typing import Any

import pytest
from click.testing import CliRunner

import ipyactors
from ipyactors.api.memory import NO_SITE, make_report
from ipyactors.api.memory_report import MemoryReport, words_of_age
from ipyactors.api.memory_rows import CallSite, MemoryPlace, MemoryRow
from ipyactors.cli import memory as command
from ipyactors.cli.main import main
from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.ground.quantities import words_of_bytes
from ipyactors.launch.address import SessionNote, publish
from ipyactors.wire import liveness
from ipyactors.wire.census_messages import (
    BorrowRecord,
    CensusReply,
    ObjectKind,
    ObjectRecord,
    ObjectsReported,
    ObjectState,
    ProcessRecord,
    SegmentRecord,
    SiteRecord,
    StoreReported,
)
from ipyactors.wire.specs import NodeStatus
from tests.support.fake_engine import fake_engine

DRIVER, WORKER, KEEPER = b"ddriver1", b"wworker1", b"wkeeper1"
NODE, OTHER = b"nnodeno1", b"nnodeno2"
CELL = SiteRecord("Cell In[3]", 2)


def object_id(number: int, owner: bytes = DRIVER) -> bytes:
    return ids.object_id(owner, number)


def record(number: int, size: int = 100, **facts: Any) -> ObjectRecord:
    facts.setdefault("kind", ObjectKind.PUT)
    facts.setdefault("name", "")
    facts.setdefault("index", 0)
    facts.setdefault("state", ObjectState.READY)
    return ObjectRecord(object_id(number), size=size, **facts)


def census(
    *owned: ObjectRecord,
    borrowed: tuple[BorrowRecord, ...] = (),
    segments: tuple[SegmentRecord, ...] = (),
    more_nodes: tuple[NodeStatus, ...] = (),
    silent: tuple[bytes, ...] = (),
    left_out: int = 0,
) -> CensusReply:
    """A driver that owns, an actor's worker that borrows, a store."""
    return CensusReply(
        1,
        (NodeStatus(NODE, "here", {}, {}, pid=50), *more_nodes),
        (
            ProcessRecord(DRIVER, is_driver=True, pid=10, node_id=NODE),
            ProcessRecord(WORKER, is_driver=False, pid=11, node_id=NODE),
            ProcessRecord(KEEPER, is_driver=False, pid=12, node_id=NODE, runs="Keeper 'k'"),
        ),
        {
            DRIVER: ObjectsReported(1, owned, left_out=left_out, left_out_bytes=left_out * 10),
            KEEPER: ObjectsReported(1, (), borrowed),
        },
        {NODE: StoreReported(1, segments, 5_000, 10_000, 700, 900)},
        silent,
    )


def row(reply: CensusReply) -> MemoryRow:
    [found] = make_report(reply)
    return found


def held_by(found: MemoryRow) -> list[str]:
    return [str(holder) for holder in found.holders]


# -- rows ------------------------------------------------------------------------------------------------------


def test_a_small_put_is_in_its_owners_memory() -> None:
    found = row(census(record(1, references=2, site=CELL, age_s=3.25)))
    assert found.object_id == object_id(1).hex()
    assert (found.what, found.size_bytes, found.state, found.age_s) == ("put", 100, "ready", 3.25)
    assert found.places == (MemoryPlace("inline"),)
    assert str(found.owner) == "driver"
    assert held_by(found) == ["2 references in driver"]
    assert found.site == CallSite("Cell In[3]", 2)
    assert str(found.site) == "Cell In[3], line 2"


def test_a_large_value_is_where_the_stores_have_it() -> None:
    segment = SegmentRecord(object_id(1), 100, mapped_by=(11, 99, 50))
    found = row(census(record(1, locations=(NODE, OTHER)), segments=(segment,)))
    assert found.places == (MemoryPlace("memory", NODE.hex()), MemoryPlace("unknown", OTHER.hex()))
    assert held_by(found) == ["mapped by worker (pid 11)", "mapped by process (pid 99)", "mapped by agent (pid 50)"]
    spilled = row(census(record(1, locations=(NODE,)), segments=(SegmentRecord(object_id(1), 100, is_spilled=True),)))
    assert spilled.places == (MemoryPlace("disk", NODE.hex()),)


def test_what_is_not_where_its_owner_takes_it_to_be_is_missing() -> None:
    assert row(census(record(1, locations=(NODE,)))).places == (MemoryPlace("missing", NODE.hex()),)


@pytest.mark.parametrize("state", [ObjectState.LOST, ObjectState.REMAKEABLE])
def test_what_is_lost_is_nowhere_and_has_no_size(state: ObjectState) -> None:
    report = make_report(census(record(1, 0, state=state)))
    assert (report[0].places, report[0].size_bytes, report[0].state) == ((), 0, state.value)
    _, [cells] = report.table()
    assert cells[:3] == ("", "put", state.value)
    assert "inline" not in str(report)


def test_what_its_owner_takes_for_lost_and_a_store_has_is_there() -> None:
    found = row(census(record(1, 0, state=ObjectState.REMAKEABLE), segments=(SegmentRecord(object_id(1), 100),)))
    assert (found.state, found.size_bytes, found.places) == ("ready", 100, (MemoryPlace("memory", NODE.hex()),))


def test_what_is_pending_or_has_failed_is_nowhere() -> None:
    pending = row(census(record(1, 0, state=ObjectState.PENDING, kind=ObjectKind.TASK_RESULT, name="f", calls=1)))
    assert (pending.places, pending.what) == ((), "task result of f")
    assert held_by(pending) == ["1 call under way in driver"]
    assert row(census(record(1, 0, state=ObjectState.FAILED))).places == ()


def test_kinds_in_words() -> None:
    item = row(census(record(1, kind=ObjectKind.ITEM, name="g", index=4)))
    assert item.what == "item 4 of g"
    arguments = row(census(record(1, kind=ObjectKind.ARGUMENTS, name="Counter.add")))
    assert arguments.what == "arguments of Counter.add"


def test_borrowers_speak_for_themselves_and_the_others_are_lent() -> None:
    borrowed = BorrowRecord(object_id(1), 3, calls=1, name="Keeper.keep")
    found = row(census(record(1, borrowers={KEEPER: 1, WORKER: 1}), borrowed=(borrowed,)))
    assert held_by(found) == [
        "3 references in Keeper 'k' (pid 12) since Keeper.keep",
        "1 call under way in Keeper 'k' (pid 12)",
        "lent to worker (pid 11)",
    ]


def test_a_borrower_that_only_keeps_a_payload_is_a_holder() -> None:
    found = row(census(record(1, borrowers={KEEPER: 1}), borrowed=(BorrowRecord(object_id(1), 0),)))
    assert held_by(found) == ["lent to Keeper 'k' (pid 12)"]


def test_an_object_inside_another_says_so() -> None:
    outer = record(2, kind=ObjectKind.TASK_RESULT, name="f", references=1)
    report = make_report(census(record(1, inside=(object_id(2),), reruns=1, is_pinned=True), outer))
    [inner] = [one for one in report if one.object_id == object_id(1).hex()]
    assert held_by(inner) == [
        "1 finished call that may run again in driver",
        "pickled by user code",
        "inside task result of f in driver",
    ]
    assert inner.holders[-1].object_id == object_id(2).hex()


def test_a_segment_that_nobody_names_is_listed_with_its_owner() -> None:
    mine, orphan = SegmentRecord(object_id(7), 40), SegmentRecord(object_id(1, b"wgone001"), 60)
    report = make_report(census(segments=(mine, orphan)))
    assert [(one.what, one.owner.role, one.size_bytes) for one in report] == [
        ("unknown", "gone", 60),
        ("freed", "driver", 40),
    ]
    assert report[0].places == (MemoryPlace("memory", NODE.hex()),)
    # Its owner has not answered, so nothing is known of it.
    [unheard] = make_report(census(segments=(SegmentRecord(object_id(1, WORKER), 1),), silent=(WORKER,)))
    assert unheard.what == "unknown"
    # Its owner has not named everything, so nothing follows from what it has not named.
    assert len(make_report(census(segments=(mine,), left_out=1))) == 0


def test_what_views_keep_of_freed_values_has_rows_of_its_own() -> None:
    freed = SegmentRecord(object_id(1), 40, mapped_by=(10, 11, 77), is_freed=True)
    again = SegmentRecord(object_id(1), 30, mapped_by=(12,))
    unknown = SegmentRecord(object_id(2), 5, is_freed=True)
    reply = census(record(1, 30, locations=(NODE,), references=1), segments=(freed, again, unknown))
    reply.stores[NODE].mapped_bytes = 45
    report = make_report(reply)
    assert [(one.what, one.size_bytes, one.owner.role) for one in report] == [
        ("freed", 40, "driver"),
        ("put", 30, "driver"),
        ("freed", 5, "driver"),
    ]
    first, made_again, last = report
    assert held_by(first) == ["mapped by driver", "mapped by worker (pid 11)", "mapped by process (pid 77)"]
    assert held_by(made_again) == ["1 reference in driver", "mapped by Keeper 'k' (pid 12)"]
    assert held_by(last) == ["mapped by some process"], "the system does not say by which"
    assert first.places == (MemoryPlace("memory", NODE.hex()),)
    assert (report.nodes[0].objects, report.nodes[0].mapped_bytes) == (1, 45)
    assert "45 B of it freed and still mapped" in repr(report)
    assert [len(row["holders"]) for row in report.to_dict()["rows"]] == [3, 2, 1]


# -- order, limits, groups -------------------------------------------------------------------------------------


def three() -> CensusReply:
    return census(
        record(1, 10, age_s=5.0, site=CELL),
        record(2, 30, age_s=1.0, site=CELL),
        record(3, 20, age_s=-1.0),
    )


def test_the_largest_or_the_oldest_come_first() -> None:
    assert [one.size_bytes for one in make_report(three())] == [30, 20, 10]
    assert [one.age_s for one in make_report(three(), sort_by="age")] == [5.0, 1.0, None]


def test_what_is_cut_off_is_said() -> None:
    report = make_report(three(), limit=1)
    assert (len(report), report.left_out, report.left_out_bytes) == (1, 2, 30)
    assert "2 more (30 B) are not listed" in repr(report)


def test_groups_add_up() -> None:
    by_site = make_report(three(), group_by="site")
    assert [(group.key, group.objects, group.size_bytes, group.oldest_s) for group in by_site.groups] == [
        ("Cell In[3], line 2", 2, 40, 5.0),
        (NO_SITE, 1, 20, None),
    ]
    assert len(by_site) == 3
    [group] = make_report(three(), group_by="owner").groups
    assert (group.key, group.size_bytes) == ("driver", 60)
    assert len(make_report(three(), group_by="site", limit=1).groups) == 1


# -- for people ------------------------------------------------------------------------------------------------


def test_the_table_is_aligned() -> None:
    segment = SegmentRecord(object_id(2), 1_500_000)
    report = make_report(
        census(
            record(1, 10, age_s=5.0, site=CELL, references=1),
            record(2, 1_500_000, kind=ObjectKind.TASK_RESULT, name="train", age_s=200, locations=(NODE,)),
            segments=(segment,),
        )
    )
    store = "5.0 kB of 10.0 kB shared memory in use (900 B of it kept for new values), 700 B on disk"
    assert repr(report).splitlines() == [
        "2 objects, 1.5 MB",
        f"here ({NODE.hex()[:10]}): {store}, 1 object in the store",
        "",
        "  size  what                  where     age  call site           owner   held by",
        "1.5 MB  task result of train  memory  3 min                      driver  nobody",
        "  10 B  put                   inline  5.0 s  Cell In[3], line 2  driver  1 reference",
    ]


def test_a_long_table_is_cut_and_says_so() -> None:
    text = repr(make_report(census(*(record(number) for number in range(100)))))
    assert text.splitlines()[-1] == "... and 70 more; iterate over it to have them all"


def test_who_was_silent_is_said_and_which_machine_if_there_are_several() -> None:
    other = NodeStatus(OTHER, "here", {}, {})
    segment = SegmentRecord(object_id(1), 100)
    reply = census(record(1, locations=(NODE,)), segments=(segment,), more_nodes=(other,), silent=(WORKER, OTHER))
    text = repr(make_report(reply))
    assert "No answer in time from worker (pid 11), the store of here: what is theirs is missing here." in text
    assert f"memory of {NODE.hex()[:10]}" in text


class _Cells(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._tag = tag
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self._tag in {"td", "th"}:
            self.rows[-1].append(data)


def test_a_notebook_shows_the_same_cells_and_nothing_is_markup() -> None:
    report = make_report(census(record(1, kind=ObjectKind.TASK_RESULT, name="<lambda>", references=1, site=CELL)))
    text = report._repr_html_()
    assert "<lambda>" not in text
    headings, [cells] = report.table()
    assert _Cells(text).rows == [list(headings), [cell for cell in cells if cell]]


def test_a_notebooks_table_is_cut_as_the_text_is_and_units_do_not_wrap() -> None:
    report = make_report(census(*(record(number, references=1) for number in range(1, 2001))), limit=None)
    text = report._repr_html_()
    assert text.count("<tr>") == 31
    assert "<div>... and 1970 more; iterate over it to have them all</div>" in text
    assert len(text) < 20_000
    assert '<td style="text-align: right; white-space: nowrap">100 B</td>' in text


def test_plain_data_survive_json() -> None:
    report = make_report(three(), group_by="site")
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["rows"][0]["size_bytes"] == 30
    assert plain["rows"][0]["what"] == "put"
    assert plain["rows"][0]["owner"]["pid"] == 10
    assert plain["groups"][0]["key"] == "Cell In[3], line 2"
    assert plain["nodes"][0]["limit_bytes"] == 10_000


def test_a_path_is_shown_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.chdir(tmp_path)
    site = CallSite(str(tmp_path / "jobs" / "train.py"), 7, "main")
    assert str(site) == f"{os.path.join('jobs', 'train.py')}, line 7, in main"
    assert str(CallSite("/elsewhere/train.py", 7)) == "/elsewhere/train.py, line 7"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert words_of_bytes(size) == words


@pytest.mark.parametrize(
    ("age_s", "words"),
    [(None, ""), (0.04, "0.0 s"), (12.4, "12 s"), (100, "2 min"), (5999, "100 min"), (7200, "2.0 h")],
)
def test_ages_in_words(age_s: float | None, words: str) -> None:
    assert words_of_age(age_s) == words


# -- the function and the command ------------------------------------------------------------------------------


def test_memory_asks_the_engine() -> None:
    with fake_engine():
        ipyactors.init()
        report = ipyactors.memory()
        assert isinstance(report, MemoryReport)
        assert [node.hostname for node in report.nodes] == ["here"]
        assert list(report) == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"group_by": "line"}, ValueError, "takes 'site', 'owner' or None"),
        ({"sort_by": "name"}, ValueError, "takes 'size' or 'age'"),
        ({"limit": 0}, ValueError, "takes a number above 0"),
        ({"limit": True}, TypeError, "takes an int or None"),
        ({"limit": 1.5}, TypeError, "takes an int or None"),
    ],
)
def test_wrong_arguments_are_refused_before_anybody_is_asked(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ipyactors.memory(**arguments)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path))
    return tmp_path


def live(home: pathlib.Path, name: str) -> SessionNote:
    """A session whose agent is alive: this process."""
    folder = home / "sessions" / name
    folder.mkdir(parents=True)
    agent = liveness.identify(os.getpid())
    assert agent is not None
    note = SessionNote(SessionPaths(name, str(folder), str(folder)), NODE, agent)
    publish(note)
    return note


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.output


def test_without_a_session_there_is_one_sentence(home: pathlib.Path) -> None:
    assert run("memory") == (1, f"Error: There is no live session under {home / 'sessions'}.\n")
    (home / "sessions" / "ended").mkdir(parents=True)
    assert run("memory") == (1, f"Error: There is no live session under {home / 'sessions'}.\n")


def test_of_several_sessions_one_is_to_be_chosen(home: pathlib.Path) -> None:
    for name in ("b", "a"):
        live(home, name)
    assert run("memory") == (1, "Error: There are 2 live sessions: a, b. Choose one with --session NAME.\n")
    assert run("memory", "--session", "c") == (1, "Error: No live session is named 'c'. There is: a, b.\n")
    code, text = run("memory", "--session", str(home / "sessions" / "c"))
    assert code == 1
    assert "is not the folder of a live session" in text


def test_the_command_prints_what_memory_says(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = live(home, "mine")
    asked: list[SessionNote] = []

    def answer(asked_of: SessionNote) -> CensusReply:
        asked.append(asked_of)
        return three()

    monkeypatch.setattr(command, "take_census", answer)
    code, text = run("memory")
    assert code == 0
    assert asked == [note]
    assert text.startswith("session mine\n3 objects, 60 B\n")
    assert [line.split()[:2] for line in text.splitlines() if " put " in line] == [
        ["30", "B"],
        ["20", "B"],
        ["10", "B"],
    ]
    code, text = run("memory", "--session", "mine", "--json", "--sort-by", "age", "--limit", "2")
    assert [one["size_bytes"] for one in json.loads(text)["rows"]] == [10, 30]
    code, text = run("memory", "--session", note.paths.state_dir, "--group-by", "site")
    assert code == 0
    assert "Cell In[3], line 2" in text
    assert run("memory", "--group-by", "line")[0] == 2


def test_a_head_that_does_not_answer_is_an_error(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ipyactors.cli import sessions

    monkeypatch.setattr(sessions, "_ASK_AGAIN_S", 0.01)
    live(home, "deaf")
    code, text = run("memory")
    assert code == 1
    assert text.startswith("Error: The head of session deaf did not answer within 0.03 s.")
