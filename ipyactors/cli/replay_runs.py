"""Which replays of an actor's log are made, each in a process of its own, and what is to be said of them together."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import Any

import msgspec

from ipyactors.cli.replay_child import AGREED, DIVERGED, IMPOSSIBLE, Request
from ipyactors.durable import fsck_facts, unborn
from ipyactors.durable.begun import Begun
from ipyactors.durable.folder import Folder
from ipyactors.durable.lock import holder_of
from ipyactors.durable.replays import Plan, Start
from ipyactors.ground.exceptions import IpyactorsError
from ipyactors.launch.argv import worker_environment
from ipyactors.worker import offline
from ipyactors.worker.offline_replayer import FSCK

#: The current folder is on the path, and our package in any case; ``__main__`` has nothing that an actor's may have.
_BOOTSTRAP = "import sys; sys.path.append(sys.argv.pop(1)); import ipyactors.cli.replay_child as _; _.main()"


@dataclasses.dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for. ``begin_with``: ``oldest``, ``newest``, or the id of a checkpoint."""

    until: int | None = None
    begin_with: str = "oldest"
    verifies: bool = False
    tells_calls: bool = False
    tells_state: bool = False
    shows_output: bool = False


@dataclasses.dataclass(slots=True)
class Run:
    """One replay. ``facts`` is what its process has told of it, ``compared_with`` where that began whose end it has."""

    start: Start
    until: int
    status: int = AGREED
    problem: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    calls: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    compared_with: Start | None = None

    @property
    def last_over(self) -> int:
        """The last call that is over, among those that it came to."""
        return int(self.facts.get("over", self.until))

    @property
    def compared(self) -> int:
        """How many calls were done again and ended as before."""
        return int(self.facts.get("calls", 0))


@dataclasses.dataclass(slots=True)
class ActorReplay:
    """What was made of one actor. ``problem`` tells why there was nothing to run; ``held_by`` who uses the folder.

    ``unborn`` tells why there never was an actor that could be replayed, which is nothing wrong.
    """

    path: pathlib.Path
    title: str
    held_by: int
    verifies: bool
    runs: list[Run] = dataclasses.field(default_factory=list)
    problem: str = ""
    unborn: str = ""
    persist: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()

    @property
    def status(self) -> int:
        """As the command's exit status."""
        return max([IMPOSSIBLE if self.problem else AGREED, *(run.status for run in self.runs)])

    @property
    def is_damaged(self) -> bool:
        """Whether something could not be replayed because of what is in the folder."""
        return any(FSCK in problem for problem in (self.problem, *(run.problem for run in self.runs)))

    @property
    def notes(self) -> list[str]:
        """What is worth knowing, once."""
        return list(dict.fromkeys(note for run in self.runs for note in run.facts.get("notes", ())))

    def left_out_words(self) -> list[str]:
        """Return what was not compared, in words."""
        words = []
        if self.persist:
            words.append(
                f"{_calls(len(self.persist))} of a persist method: skipped, for it need not do the same again."
            )
        if self.left_out:
            words.append(
                f"{_calls(len(self.left_out))} could not be compared: they come after a call of a persist method, and "
                "no checkpoint in between is kept."
            )
        return words

    def verdict(self) -> str:
        """Return what has come out, in a sentence."""
        if self.problem:
            return f"Cannot be replayed: {self.problem}"
        if self.unborn:
            return f"Nothing to replay: the actor never came to be: {self.unborn.rstrip('.')}."
        compared = _calls(sum(run.compared for run in self.runs))
        failed = [run for run in self.runs if run.status != AGREED]
        if any(run.status == DIVERGED for run in failed):
            return f"Diverged: {len(failed)} of {_replays(len(self.runs))}; {compared} compared."
        if failed:
            return f"Not replayed: {len(failed)} of {_replays(len(self.runs))}; {compared} compared."
        if self.verifies:
            ends = sorted({run.last_over for run in self.runs})
            same = "all came to the same end" if len(ends) == 1 else "each stretch came to the same end"
            return f"Agreed: {_replays(len(self.runs))}, {compared} compared, and {same} (lsn {_numbers(ends)})."
        return f"Agreed: the state is that after lsn {self.runs[-1].last_over}."

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "path": str(self.path),
            "actor": self.title,
            "held_by": self.held_by,
            "status": self.status,
            "verdict": self.verdict(),
            "problem": self.problem,
            "unborn": self.unborn,
            "notes": self.notes,
            "persist": list(self.persist),
            "left_out": list(self.left_out),
            "replays": [
                {
                    "from": run.start.checkpoint_id or "constructor",
                    "from_lsn": run.start.lsn,
                    "until": run.until,
                    **run.facts,
                    "status": run.status,
                    "problem": run.problem,
                    "compared_with": None
                    if run.compared_with is None
                    else run.compared_with.checkpoint_id or "constructor",
                    "listing": run.calls,
                }
                for run in self.runs
            ],
        }


def replay_actor(path: pathlib.Path, wishes: Wishes) -> ActorReplay:
    """Replay the log of one actor, as often as is asked for. Never raises for what is in the folder."""
    done = ActorReplay(path, _title(path), holder_of(path), wishes.verifies)
    try:
        planned = offline.plan(path)
        if not planned.end and (why := unborn.read(Folder(path))):
            done.unborn = why
            return done
        runs = _runs(planned, wishes)
    except IpyactorsError as error:
        done.problem = str(error)
        return done
    except ValueError as error:
        done.problem = f"{error}."
        return done
    oldest = runs[0].start.lsn
    lsns = {one.checkpoint_id: one.lsn for one in planned.starts}
    wanted = planned.end if wishes.until is None else wishes.until
    done.persist = tuple(lsn for lsn in planned.persist if oldest < lsn <= wanted)
    if wishes.verifies:
        done.left_out = tuple(lsn for lsn in planned.left_out() if lsn <= wanted)
    with tempfile.TemporaryDirectory(prefix="ipyactors-replay-") as folder:
        ends: dict[int, Run] = {}
        states: dict[str, Start] = {}
        for number, run in enumerate(runs):
            done.runs.append(run)
            _do(path, run, ends.get(run.until), wishes, pathlib.Path(folder), number)
            states |= dict.fromkeys(run.facts.pop("kept", ()), run.start)
            for one in run.facts.get("checkpoints", ()):
                one |= {"lsn": lsns[one["checkpoint"]], "compared_with": str(states[one["checkpoint"]])}
            if run.status == AGREED:
                ends.setdefault(run.until, run)
    return done


def _runs(planned: Plan, wishes: Wishes) -> list[Run]:
    """Return what is to be run. Raises ValueError: there is nothing."""
    wanted = planned.end if wishes.until is None else wishes.until
    if not wishes.verifies:
        if wishes.begin_with in ("oldest", "newest"):
            return [Run(planned.choose(wishes.until, from_oldest=wishes.begin_with == "oldest"), wanted)]
        start = planned.find(wishes.begin_with)
        if not start.lsn <= wanted <= start.until:
            raise ValueError(
                f"from {start} no replay comes to lsn {wanted}{f': {start.because}' * bool(start.because)}"
            )
        return [Run(start, wanted)]
    if not planned.starts or wanted > planned.end:
        planned.choose(wanted)  # says why not
    runs = [Run(one, min(one.until, wanted)) for one in planned.starts if one.lsn <= wanted]
    # What no other run comes to is done twice: what is random, or depends on a process, shows in the state.
    ends = [run.until for run in runs]
    return [again for run in runs for again in (run, *([Run(run.start, run.until)] * (ends.count(run.until) == 1)))]


def _do(path: pathlib.Path, run: Run, other: Run | None, wishes: Wishes, folder: pathlib.Path, number: int) -> None:
    """Run one replay in a process of its own."""
    begun, report = folder / f"begun-{number}", folder / f"report-{number}"
    end = folder / f"end-{run.until}"
    request = Request(
        str(path),
        run.start.checkpoint_id,
        run.until,
        str(begun),
        keep_to=str(end) if wishes.verifies and other is None else "",
        compare_with=str(end) if other is not None else "",
        tells_calls=wishes.tells_calls,
        tells_state=wishes.tells_state,
        states=str(folder) if wishes.verifies else "",
    )
    package = pathlib.Path(offline.__file__).parents[2]
    shown = None if wishes.shows_output else subprocess.DEVNULL
    ended = subprocess.run(
        [sys.executable, "-c", _BOOTSTRAP, str(package), msgspec.json.encode(request).decode(), str(report)],
        stdin=subprocess.DEVNULL,
        stdout=shown,
        stderr=shown,
        env=_environment(path),
        check=False,
    )
    for line in report.read_text(encoding="utf-8").splitlines() if report.exists() else ():
        told = json.loads(line)
        if "call" in told:
            run.calls.append(told["call"])
        else:
            run.facts = told["end"]
    run.status = run.facts.pop("status", DIVERGED)
    run.problem = run.facts.pop("problem", "")
    run.compared_with = None if other is None else other.start
    if not run.facts and not run.problem:
        run.status, run.problem = _end_of(ended.returncode, begun, run)


def _end_of(code: int, begun: pathlib.Path, run: Run) -> tuple[int, str]:
    """Return what to say of a process that has ended without a word."""
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    last = Begun(begun).last - 1 if begun.exists() else -1
    if last < 0:
        return IMPOSSIBLE, f"the replay's process ended {how}, outside of the actor's calls."
    if last <= run.start.lsn:
        return DIVERGED, f"its process ended {how} before the first call."
    run.facts["lsn"] = last
    return DIVERGED, f"the call at lsn {last} ended its process ({how}), and had come to an end."


def _environment(path: pathlib.Path) -> dict[str, str]:
    """Return the environment of a replay: that of a worker, with the seed that the actor's process had for hashes."""
    environment = {**os.environ, **worker_environment(os.environ)}
    try:
        opened = offline.plan(path).opened
    except (IpyactorsError, OSError):
        return environment
    if opened is not None and opened.hash_seed:
        environment["PYTHONHASHSEED"] = opened.hash_seed
    return environment


def _title(path: pathlib.Path) -> str:
    disk = Folder(path)
    spec, _ = fsck_facts.spec_of(disk, disk.names())
    if spec is None:
        return f"actor {path.name}"
    name = f"{spec.name!r} " if spec.name else ""
    level = f", durable={spec.durability.level}" if spec.durability is not None else ""
    return f"actor {spec.class_name} {name}{spec.actor_id.hex()}{level}"


def _calls(count: int) -> str:
    return f"{count:,} call{'s' * (count != 1)}"


def _replays(count: int) -> str:
    return f"{count:,} replay{'s' * (count != 1)}"


def _numbers(numbers: list[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)
