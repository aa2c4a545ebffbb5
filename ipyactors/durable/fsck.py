"""Look at a durable actor's folder: what is in it, what is wrong with it, and how much of the state can be had.

What counts as whole, broken or contradictory is decided where recovery decides it (:mod:`~ipyactors.durable.log`,
:mod:`~ipyactors.durable.recovery`, :mod:`~ipyactors.durable.manifest`, :mod:`~ipyactors.durable.blobs`); this goes on
where recovery refuses. Nothing is ever written, no pickle is opened, and nothing in a folder makes it raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ipyactors.durable import fsck_facts, fsck_findings, manifest, unborn, waste
from ipyactors.durable.disk import Disk
from ipyactors.durable.fsck_evidence import Evidence, Load
from ipyactors.durable.fsck_report import BlobFacts, CallFacts, CheckpointFacts, Finding, FsckReport, Saved, Status
from ipyactors.durable.record import Checkpoint

_KNOWN = re.compile(
    r"lock|begun|lost|unborn|spec|class-[0-9a-f]+|log-[0-9a-f]{16}|checkpoint-[0-9]{12}\.json|data-.+|blob-[0-9a-f]{16}-[0-9]+"
)

#: An actor that runs makes and removes files while they are read: what seems wrong meanwhile is looked at again.
_READINGS = 5


def check(
    disk: Disk,
    actor_id: bytes | None = None,
    *,
    load: Load | None = None,
    held_by: int = 0,
    with_listing: bool = False,
    boot_id: str = "",
) -> FsckReport:
    """Check the folder of one actor, and say what can be saved. Never raises, changes nothing.

    ``actor_id``: whose folder it is; None: whoever its files say. ``load`` fetches the data of checkpoints that is not
    in the folder; without it, that data is not looked at, and taken for there. ``held_by`` is the process that uses the
    folder (:func:`~ipyactors.durable.lock.holder_of`): then the log may be found in the middle of a write.
    ``with_listing``: list every record. ``boot_id`` tells this boot of the machine from others, so that what a loss of
    power may have taken is told from damage; empty: it is all damage.

    Everything is read to its last byte; but of a large value above 2 MiB, the digest covers only the two ends.
    """
    try:
        names = disk.names()
        for _ in range(_READINGS):
            spec, spec_problem = fsck_facts.spec_of(disk, names)
            whose = actor_id or fsck_facts.whose(disk, names, spec)
            if whose is None or not any(map(is_of_an_actor, names)):
                return _unreadable(whose, "There is no log here, nor anything else that tells of an actor.")
            evidence = Evidence(disk, names, whose, spec, load, boot_id)
            findings = fsck_findings.find(evidence, spec_problem)
            before, names = names, disk.names()
            if not findings or set(before) == set(names):
                break
    except OSError as error:
        return _unreadable(actor_id, f"The folder cannot be read: {error.strerror or error}.")
    return _report(evidence, findings, held_by, with_listing=with_listing)


def is_of_an_actor(name: str) -> bool:
    """Return whether a file of this name tells that its folder is an actor's."""
    return _KNOWN.fullmatch(name) is not None and not name.startswith("data-")


def _unreadable(actor_id: bytes | None, problem: str) -> FsckReport:
    return FsckReport(actor_id.hex() if actor_id else "", Status.UNREADABLE, notes=(problem,))


def _report(evidence: Evidence, findings: tuple[Finding, ...], held_by: int, *, with_listing: bool) -> FsckReport:
    status = max((one.status for one in findings), default=Status.CLEAN)
    facts = fsck_facts.tell(evidence.reading, evidence.spec, with_listing=with_listing)
    calls, highest = fsck_facts.calls_in(evidence.reading)
    highest = max([highest, *(one.lsn for one in evidence.fitting)])
    lost, unreadable = _losses(evidence, calls, highest)
    return FsckReport(
        actor_id=evidence.actor_id.hex(),
        status=Status(status) if evidence.is_all else Status.LOST,
        class_name=facts.class_name,
        name=facts.name,
        level=facts.level,
        held_by=held_by,
        lsn=highest,
        begun=evidence.begun,
        segments=facts.segments,
        records=facts.records,
        calls=facts.calls,
        incarnations=facts.incarnations,
        checkpoints=_checkpoints(evidence),
        blobs=_blobs(evidence),
        findings=findings,
        notes=(*fsck_facts.notes(evidence.reading, evidence.names, evidence.begun, held_by), *_notes(evidence)),
        saved=_saved(evidence),
        lost=lost,
        unreadable=unreadable,
        listing=facts.listing,
        waste=tuple(waste.find(evidence.names, evidence.manifests, evidence.broken)),
        unborn="" if highest else unborn.read(evidence.disk),
    )


def _notes(evidence: Evidence) -> Iterator[str]:
    """Yield what is worth knowing of checkpoints and files, and no harm."""
    if evidence.left is not None:
        yield (
            "Nothing of this was written since the machine was started. A loss of power before that takes what was not "
            "synced, which at level 'process' is all but checkpoints: it explains where the log ends. The actor's next "
            f"start goes on behind lsn {evidence.left_lsn}; nothing up to there is lost."
        )
    if evidence.lost_to:
        yield f"A loss of power has taken calls once: lsns up to {evidence.lost_to} are not given again."
    unknown = sorted(name for name in evidence.names if not _KNOWN.fullmatch(name))
    if unknown:
        yield f"Not part of an actor's folder: {', '.join(unknown)}."
    ids = {one.data.checkpoint_id for one in evidence.manifests}
    bodies = [one.body for _, _, one in evidence.reading.located()]
    made = [body.checkpoint_id for body in bodies if isinstance(body, Checkpoint)]
    if made and made[-1] not in ids and not evidence.broken:
        yield f"The log speaks of checkpoint {made[-1]}, whose manifest is not there: replays are longer without it."
    elsewhere = sum(data == "not looked at" for data in evidence.data.values())
    if elsewhere:
        what = "1 checkpoint is" if elsewhere == 1 else f"{elsewhere} checkpoints are"
        yield f"The data of {what} not in this folder, and was not looked at. With --data it is."
    if any(data.startswith("gone") for data in evidence.data.values()):
        yield "The data of checkpoints was in the memory of the actor's process. The log is kept from the beginning on."


def _blobs(evidence: Evidence) -> BlobFacts:
    needed = evidence.needed_blobs()
    wrong = {blob.name: problem for blob in needed if (problem := evidence.problem_of(blob))}
    used = {blob.name for blob in needed}
    waste = sorted(name for name in evidence.names if name.startswith("blob-") and name not in used)
    return BlobFacts(len(needed), sum(blob.size for blob in needed), wrong, tuple(waste))


def _checkpoints(evidence: Evidence) -> tuple[CheckpointFacts, ...]:
    return tuple(
        CheckpointFacts(
            file=manifest.name_of(one.number),
            number=one.number,
            checkpoint_id=one.data.checkpoint_id,
            lsn=one.lsn,
            position=one.position,
            incarnation=one.incarnation,
            wall_s=one.data.wall_s,
            size=one.data.size,
            locator=one.data.locator,
            data=evidence.data[one.number].partition(":")[0],
            problem=evidence.misfits.get(one.number, ""),
        )
        for one in evidence.manifests
    )


def _saved(evidence: Evidence) -> Saved | None:
    best = evidence.best
    if best is None:
        return None
    base = best.base
    return Saved(
        lsn=best.lsn,
        checkpoint_id=base.data.checkpoint_id if base is not None else "",
        checkpoint_lsn=base.lsn if base is not None else 0,
        checkpoint_file=manifest.name_of(base.number) if base is not None else "",
        replayed=best.replayed,
        since=base.position if base is not None else 0,
        position=best.end,
        is_all=evidence.is_all,
        by_itself=evidence.by_itself,
        again=tuple(fsck_facts.call_facts(past.lsn, past.call) for past in best.again),
    )


def _losses(
    evidence: Evidence, calls: dict[int, CallFacts], highest: int
) -> tuple[tuple[CallFacts, ...], tuple[tuple[int, int], ...]]:
    """Return which calls are lost, and ranges of lsns of which nothing can be read."""
    if evidence.is_all:
        return (), ()
    best = evidence.best
    reached = best.lsn if best is not None else 0
    kept = {past.lsn for past in best.again} if best is not None else set()
    lost = tuple(calls[lsn] for lsn in sorted(calls) if lsn > reached and lsn not in kept)
    return lost, tuple(_gaps(reached, highest, {*calls, *kept}))


def _gaps(reached: int, highest: int, known: set[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges of lsns, first and last, above ``reached`` that are not known."""
    first = reached + 1
    for lsn in (*sorted(one for one in known if reached < one <= highest), highest + 1):
        if lsn > first:
            yield first, lsn - 1
        first = lsn + 1
