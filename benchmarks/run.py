"""Runs everything: ours, each installed peer and the limit, in turn, each in a fresh process, in the same run.

    python -m benchmarks                        all questions, three repeats; prints the table, writes JSON
    python -m benchmarks --only task actor      some questions
    python -m benchmarks --peers ipyactors ray  some peers
    python -m benchmarks --short                to see that everything works; the figures mean nothing
    python -m benchmarks --draw                 draw the figures too

For each question the peers take turns, and each repeat begins with another one, so that a machine that slows down for
a while hits all alike. A peer that is not installed is said to be missing. What a child leaves behind is ended here.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import draw, machine, peers, questions, report
from benchmarks.processes import MARK, end_marked
from benchmarks.question import Question

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

#: A child that has not finished by then prints where it hangs and ends; ten seconds later it is killed.
LIMIT_S = 240.0
_GRACE_S = 10.0
_LAST_LINES = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says; return 1 if ours failed anywhere, else 0."""
    options = _parse(arguments)
    entries = [peers.find_entry(name) for name in peers.NAMES if name in options.peers]
    asked = [questions.find_question(name) for name in questions.NAMES if name in options.only]
    results: report.Results = {}
    for question in asked:
        results |= ask(question, entries, options)
    metrics = [metric for question in asked for metric in question.metrics]
    distributions = [entry.distribution for entry in entries if entry.distribution]
    versions = machine.describe_versions(ROOT, distributions)
    run = report.Run(entries, metrics, results, versions, options.repeats, options.short)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    facts = {"date": now.isoformat(), "machine": machine.describe_machine()}
    path = options.out or RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}{'-short' if options.short else ''}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts | run.as_dict(), indent=1) + "\n")
    print(f"\n{report.format_table(run)}\n\nWritten to {path}")
    if options.draw:
        print(f"Drawn in {draw.draw(run, path.with_suffix('.png'))}")
    return int(any("failed" in by_peer.get(peers.OURS, {}) for by_peer in results.values()))


def ask(question: Question, entries: Sequence[peers.Entry], options: argparse.Namespace) -> report.Results:
    """Put one question to all peers, ``options.repeats`` times, and return what each said."""
    heard: dict[str, list[Mapping[str, Any]]] = {entry.name: [] for entry in entries}
    for repeat in range(options.repeats):
        turn = repeat % len(entries)
        for entry in [*entries[turn:], *entries[:turn]]:
            print(f"{question.name}: {entry.title}, {repeat + 1} of {options.repeats}", file=sys.stderr, flush=True)
            heard[entry.name].append(_ask_one(question, entry, is_short=options.short))
    return {
        metric.key: {entry.name: report.summarize(metric.key, heard[entry.name]) for entry in entries}
        for metric in question.metrics
    }


def _ask_one(question: Question, entry: peers.Entry, *, is_short: bool) -> dict[str, Any]:
    keys = [metric.key for metric in question.metrics]
    if entry.distribution and machine.find_version(entry.distribution) is None:
        return {"figures": {}, "missing": dict.fromkeys(keys, f"{entry.distribution} is not installed")}
    with tempfile.TemporaryDirectory(prefix="bench", ignore_cleanup_errors=True) as folder:
        file = pathlib.Path(folder, "answers.json")
        command = [sys.executable, "-m", "benchmarks.child", question.name, entry.name, str(file), str(LIMIT_S)]
        printed = _run_child([*command, "--short"] if is_short else command, folder)
        answers: dict[str, Any] = {"figures": {}, "absent": {}, "failed": {}}
        if file.exists():
            answers = json.loads(file.read_text())
    for key in keys:
        if not any(key in answers[kind] for kind in ("figures", "absent", "failed")):
            answers["failed"][key] = "the process ended without an answer; what it printed last was shown meanwhile"
    if answers["failed"]:
        print(*printed.splitlines()[-_LAST_LINES:], sep="\n", file=sys.stderr, flush=True)
    return answers


def _run_child(command: list[str], folder: str) -> str:
    """Run a child in its own process group and folder, end all it left behind, and return what it printed."""
    mark = uuid.uuid4().hex
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        MARK: mark,
        "PYTHONPATH": search_path,
        "IPYACTORS_HOME": f"{folder}/ipyactors",
        "IPYTHONDIR": f"{folder}/ipython",
    }
    # To a file, not to a pipe: a process that stays behind would hold the pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            child.wait(LIMIT_S + _GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            end_marked(mark)
        output.seek(0)
        return output.read()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="ipyactors beside its peers.")
    parser.add_argument("--only", nargs="+", choices=questions.NAMES, default=questions.NAMES, metavar="QUESTION")
    parser.add_argument("--peers", nargs="+", choices=peers.NAMES, default=peers.NAMES, metavar="PEER")
    parser.add_argument("--repeats", type=int, help="fresh processes for each question and peer (3; short: 1)")
    parser.add_argument("--short", action="store_true", help="see that everything works; the figures mean nothing")
    parser.add_argument("--out", type=pathlib.Path, help="the JSON file (default: a dated one in benchmarks/results)")
    parser.add_argument("--draw", action="store_true", help="draw the figures beside the JSON file, with matplotlib")
    options = parser.parse_args(arguments)
    options.repeats = max(1, options.repeats or (1 if options.short else 3))
    return options
