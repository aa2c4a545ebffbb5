"""What is wrong in a folder, in sentences: where, what it is, and what it means for the state and for callers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ipyactors.durable import manifest, segment, spec_file
from ipyactors.durable.fsck_evidence import CALL_GONE, USELESS, Evidence, Need
from ipyactors.durable.fsck_report import Finding, Status
from ipyactors.durable.log import Piece
from ipyactors.durable.record import Checkpoint, Open


@dataclasses.dataclass(frozen=True, slots=True)
class _Problem:
    """Something that is wrong. Without a ``status`` it weighs what becomes of the state: nothing is lost, or is."""

    file: str
    problem: str
    meaning: str = ""
    position: int | None = None
    lsn: int | None = None
    status: Status | None = None


def find(evidence: Evidence, spec_problem: str) -> tuple[Finding, ...]:
    """Return everything that is wrong."""
    problems = [
        *_in_spec(spec_problem),
        *_in_classes(evidence),
        *_in_segments(evidence),
        *_at_the_ends(evidence),
        *_in_checkpoints(evidence),
        *_in_the_history(evidence),
        *_in_blobs(evidence),
    ]
    if not problems and not evidence.by_itself and evidence.best is not None:
        problems.append(_Problem("log", "an actor does not start from it", evidence.refusal))
    return tuple(_weigh(evidence, one) for one in problems)


def _weigh(evidence: Evidence, one: _Problem) -> Finding:
    status = one.status
    if status is None:
        status = Status.RECOVERABLE if evidence.is_all else Status.LOST
    offset = evidence.reading.place_of(one.position)[1] if one.position is not None else None
    return Finding(status, one.file, one.problem, one.meaning, one.position, offset, one.lsn)


def _in_spec(problem: str) -> Iterator[_Problem]:
    if problem:
        meaning = "A session that runs has its own; who replays the log elsewhere needs it."
        yield _Problem("spec", problem, meaning, status=Status.RECOVERABLE)


def _in_classes(evidence: Evidence) -> Iterator[_Problem]:
    """Yield what is wrong with the classes that checkpoints and the log need, beside the one of the specification."""
    spec = evidence.spec
    needed: dict[bytes, str] = {}
    for one in evidence.manifests:
        needed.setdefault(one.data.definition_id, f"checkpoint {one.number} can only be loaded")
    for _, _, record in evidence.reading.located():
        if isinstance(record.body, (Open, Checkpoint)):
            needed.setdefault(
                record.body.definition_id, f"what the log has behind lsn {record.lsn} can only be replayed"
            )
    needed.pop(b"", None)
    for definition_id, what in needed.items():
        name = spec_file.class_name(definition_id)
        is_beside = name in evidence.names
        if spec is None and not is_beside:
            continue  # it may be that of the specification
        if spec is not None and spec.definition.definition_id == definition_id and not is_beside:
            continue
        try:
            spec_file.read_class(evidence.disk, definition_id)
        except (OSError, ValueError, RecursionError) as error:
            problem = "it is not there" if isinstance(error, FileNotFoundError) else f"it cannot be used: {error}"
            meaning = f"Without this class, {what} in a session that still has it."
            yield _Problem(name, problem, meaning, status=Status.RECOVERABLE)


def _in_segments(evidence: Evidence) -> Iterator[_Problem]:
    best = evidence.best
    lsn = 0
    for piece in evidence.reading.pieces:
        if piece.part is not None and piece.part.records:
            lsn = piece.part.records[-1].lsn
        if piece.problem:
            is_behind = best is not None and bool(best.stretch.reads) and best.stretch.start > piece.position
            is_passed = evidence.is_all or is_behind
            status = Status.RECOVERABLE if is_passed else Status.LOST
            meaning = _meaning_of(piece, is_passed=is_passed, may_be_power=evidence.left is not None)
            yield _Problem(piece.name, piece.problem, meaning, piece.position, lsn, status)


def _meaning_of(piece: Piece, *, is_passed: bool, may_be_power: bool) -> str:
    later = len(piece.part.later) if piece.part is not None else 0
    said = f"{later:,} whole record{'s' * (later != 1)} can be found behind the break. " if later else ""
    if is_passed:
        return said + "The state does not depend on it."
    if may_be_power:
        return said + "A loss of power leaves this behind, at level 'process': what was done since is lost."
    return said + "No crash leaves this behind: what is not there had been, and its calls may have been answered."


def _at_the_ends(evidence: Evidence) -> Iterator[_Problem]:
    pieces, end = evidence.reading.pieces, evidence.reading.end
    if evidence.is_log_missing:
        yield _Problem("log", "there is no log, and there was one", status=Status.LOST)
        return
    first = pieces[0].start if pieces else 0
    since = min((one.position for one in evidence.fitting), default=0)
    if first > since:
        what = f"the log begins at position {first:,}; what comes before it, from {since:,} on, is not there"
        meaning = "" if evidence.best is not None else "No checkpoint that can be used has the state at its beginning."
        yield _Problem(segment.name_at(first), what, meaning)
    beyond = [one for one in evidence.fitting if end is not None and one.position > end]
    if beyond:
        newest = beyond[0]
        what = f"the log ends at position {end:,}, and checkpoint {newest.number} was made at {newest.position:,}"
        yield _Problem(pieces[-1].name, what, "What was done since, if anything, is lost.", end, status=Status.LOST)


def _in_checkpoints(evidence: Evidence) -> Iterator[_Problem]:
    helps = "The same state can be had without it, by a longer replay." if evidence.is_all else ""
    for name, problem in sorted(evidence.broken.items()):
        yield _Problem(name, f"it is no checkpoint: {problem}", helps)
    for one in evidence.manifests:
        name, data = manifest.name_of(one.number), evidence.data[one.number]
        misfit = evidence.misfits.get(one.number)
        if misfit:
            yield _Problem(name, f"it does not fit the log: {misfit}", helps)
        if data.startswith(USELESS) and not data.startswith("gone") and data != CALL_GONE:
            yield _Problem(name, f"its data, {one.data.locator}, is {data}", helps)


def _in_the_history(evidence: Evidence) -> Iterator[_Problem]:
    said: set[int] = set()
    for way in evidence.ways:
        error = way.error
        if error is not None and error.position not in said:
            said.add(error.position)
            name, _ = evidence.reading.place_of(error.position)
            meaning = "The records are whole: no disk has damaged them. What follows cannot be relied on."
            if evidence.is_all:
                meaning = "The state does not depend on it."
            yield _Problem(name, str(error), meaning, error.position)


def _in_blobs(evidence: Evidence) -> Iterator[_Problem]:
    answers, carried = evidence.answers(), evidence.carried()
    for blob, need in evidence.needed_blobs().items():
        problem = evidence.problem_of(blob).removeprefix(f"{blob.name} ")
        if problem and blob in carried and blob not in answers:
            yield _carried(evidence, blob.name, carried[blob].number, problem)
        elif problem:
            yield _blob(evidence, blob.name, need, problem, is_answer=blob in answers)


def _carried(evidence: Evidence, name: str, number: int, problem: str) -> _Problem:
    what = f"Checkpoint {number} has a call to another actor that it is an argument of, and is not used without it."
    helps = " The same state can be had by a longer replay, which makes the call again." if evidence.is_all else ""
    return _Problem(name, problem, what + helps)


def _blob(evidence: Evidence, name: str, need: Need, problem: str, *, is_answer: bool) -> _Problem:
    what = f"It is {need.what} of lsn {need.lsn}"
    if is_answer:
        meaning = f"{what}, which a caller that asks again cannot be given; the state does not need it."
        return _Problem(name, problem, meaning, status=Status.LOST)
    if evidence.best is not None and evidence.best.blocked == need.lsn:
        meaning = f"{what}, which cannot be executed again without it; nor can what follows."
        return _Problem(name, problem, meaning, status=Status.LOST)
    return _Problem(name, problem, f"{what}, which the state does not need.")
