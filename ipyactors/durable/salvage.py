"""The part of a damaged folder that a state can be had from, as a folder that is in order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ipyactors.durable import fsck_facts, segment, stretches
from ipyactors.durable.disk import Disk
from ipyactors.durable.fsck_report import FsckReport
from ipyactors.durable.segment import HEAD_BYTES

_KEPT = re.compile(r"class-[0-9a-f]+|blob-[0-9a-f]{16}-[0-9]+")


def save(disk: Disk, report: FsckReport) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that make up a folder with the state that ``report.saved`` tells of.

    The log's records are as they were, in one segment that begins at the checkpoint. ``disk`` is that of the report, in
    which nothing has changed since. Raises ValueError if there is nothing to be had, and OSError.
    """
    saved = report.saved
    if saved is None:
        raise ValueError(f"no state of actor {report.actor_id} can be had from its folder")
    actor_id = bytes.fromhex(report.actor_id)
    names = disk.names()
    if fsck_facts.spec_of(disk, names)[0] is not None:
        yield "spec", disk.read("spec")
    for name in sorted(names):
        if _KEPT.fullmatch(name) and name not in report.blobs.wrong and name not in report.blobs.waste:
            yield name, disk.read(name)
    for one in report.checkpoints:
        if one.file == saved.checkpoint_file:
            if one.locator.startswith("data-") and one.data == "right":
                yield one.locator, disk.read(one.locator)
            yield one.file, disk.read(one.file)
    records = b"".join(_records(disk, actor_id, saved.since, saved.position))
    yield segment.name_at(saved.since), segment.make_head(actor_id, saved.since) + records


def _records(disk: Disk, actor_id: bytes, since: int, until: int) -> Iterator[bytes]:
    stretch = stretches.read(disk, actor_id).around(since)
    for part in stretch.reads if stretch is not None else []:
        data = disk.read(segment.name_at(part.start))
        first = max(since, part.start)
        if stretch is not None and part is stretch.reads[0]:
            first = max(since, stretch.start)
        last = min(until, part.end)
        if first < last:
            yield data[HEAD_BYTES + first - part.start : HEAD_BYTES + last - part.start]
