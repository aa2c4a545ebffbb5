"""Events into checkpoints: when each was made, how large it is, and what a recovery would do again since then. Pure."""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ipyactors.notebook.plots.recoveries import ACTOR_KINDS, actor_events
from ipyactors.notebook.plots.wording import count, in_size, in_time
from ipyactors.wire.events import Event, EventKind

_ID = re.compile(r"\bcheckpoint ([0-9a-f]{10})\b")
_SIZE = re.compile(r"\b([\d,]+) bytes?\b")
_LSN = re.compile(r"\bafter call ([\d,]+)\b")


@dataclasses.dataclass(frozen=True, slots=True)
class Saved:
    """One checkpoint. ``at_s`` is when it was made, in seconds since the first event; ``lsn`` the call it was after.

    ``begun`` counts the recoveries that began with it; ``since`` the calls that were answered from then until the next
    one was made, or until the end.
    """

    checkpoint_id: str
    at_s: float
    size_bytes: int
    lsn: int
    duration_s: float
    since: int
    begun: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Replay:
    """One recovery: when it was over, in seconds since the first event, how long it took, and of how many calls."""

    at_s: float
    duration_s: float
    calls: int


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """How many calls a recovery would have to do again, from each of these moments to the next."""

    at_s: tuple[float, ...]
    calls: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """What is known of the checkpoints of one actor. Times are seconds since the first event, ``now_s`` the end.

    ``deaths`` are pairs of a time and whether it was injected. ``due_calls`` are the calls that would be replayed if
    it died now (readonly ones count too, which are not replayed), ``due_s`` how long they took when they were run.
    """

    label: str
    saved: tuple[Saved, ...]
    replays: tuple[Replay, ...]
    deaths: tuple[tuple[float, bool], ...]
    steps: Steps
    begun_s: float
    now_s: float
    due_calls: int
    due_s: float
    is_gone: bool = False

    def in_words(self) -> str:
        """Return what there is, and what would be lost if the actor died now."""
        if not self.saved:
            kept = "no checkpoint yet"
        else:
            newest = self.saved[-1]
            age = "" if self.is_gone else f", {in_time(self.now_s - newest.at_s)} old"
            kept = f"{count(len(self.saved), 'checkpoint')}, the newest {in_size(newest.size_bytes)}{age}"
        if self.is_gone:
            return f"{kept} \u00b7 gone for good"
        due = f"at most {count(self.due_calls, 'call')} to replay, about {in_time(self.due_s)}"
        return f"{kept} \u00b7 if it died now: nothing lost, {due if self.due_calls else 'nothing to replay'}"


def id_in(detail: str) -> str:
    """Return the first ten digits of the id of the checkpoint that an event's detail names; empty if it names none."""
    found = _ID.search(detail)
    return found[1] if found else ""


def make_rows(events: Sequence[Event], until_s: float = 0.0) -> Iterator[Row]:
    """Yield a row for each durable actor, as they appeared: those that have made a checkpoint or have recovered.

    That of an actor that lives goes on to the last event of all, and to ``until_s`` (wall clock) if that is later.
    """
    drawn = [event for event in events if event.actor_id]
    if not drawn:
        return
    origin_s = min(event.wall_s - event.duration_s for event in drawn)
    now_s = max(until_s, *(event.wall_s for event in events)) - origin_s
    for history in actor_events(drawn).values():
        kinds = {event.kind for event in history}
        if kinds & {EventKind.CHECKPOINT_MADE, EventKind.ACTOR_RECOVERED}:
            yield _row(history, origin_s, now_s)


def _row(history: Sequence[Event], origin_s: float, now_s: float) -> Row:
    made = [event for event in history if event.kind is EventKind.CHECKPOINT_MADE]
    recovered = [event for event in history if event.kind is EventKind.ACTOR_RECOVERED]
    answers = [event for event in history if event.kind is EventKind.CALL_ATTEMPT]
    ends_s = [event.wall_s for event in answers]
    bounds_s = [event.wall_s for event in made]
    before = [bisect_right(ends_s, bound_s) for bound_s in bounds_s]
    after = [*before[1:], len(answers)][: len(before)]
    begun = [id_in(event.detail) for event in recovered]
    due = answers[before[-1] :] if before else answers
    died = (event for event in history if event.kind is EventKind.ACTOR_DIED)
    is_gone = any(event.kind is EventKind.ACTOR_DEAD for event in history)
    end_s = history[-1].wall_s - origin_s if is_gone else now_s
    return Row(
        next((event.name for event in history if event.kind in ACTOR_KINDS and event.name), "actor"),
        tuple(
            Saved(id_in(event.detail), event.wall_s - origin_s, _number(_SIZE, event.detail),
                  _number(_LSN, event.detail), event.duration_s, last - first, begun.count(id_in(event.detail)))
            for event, first, last in zip(made, before, after, strict=True)
        ),
        tuple(Replay(event.wall_s - origin_s, event.duration_s, event.count) for event in recovered),
        tuple((event.wall_s - origin_s, event.injected) for event in died),
        _steps(history, origin_s, end_s),
        history[0].wall_s - origin_s,
        end_s,
        len(due),
        sum(event.duration_s for event in due),
        is_gone,
    )  # fmt: skip


def _steps(history: Iterable[Event], origin_s: float, end_s: float) -> Steps:
    times: list[float] = []
    calls: list[int] = []
    since = 0
    for event in history:
        if event.kind is EventKind.CALL_ATTEMPT:
            since += 1
        elif event.kind is EventKind.CHECKPOINT_MADE:
            since = 0
        else:
            continue
        times.append(event.wall_s - origin_s)
        calls.append(since)
    return Steps((*times, end_s), (*calls, since)) if times else Steps((), ())


def _number(pattern: re.Pattern[str], detail: str) -> int:
    found = pattern.search(detail)
    return int(found[1].replace(",", "")) if found else 0
