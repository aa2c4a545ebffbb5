"""The benchmarks run and say what they found. No figure is judged here: that needs a machine to itself."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import questions, report
from benchmarks.measure import SHORT, median, percentile, rate, sample
from benchmarks.peers import ENTRIES, LIMIT, OURS, Entry, find_entry
from benchmarks.peers.base import NoSuchThingError
from benchmarks.question import Answers, Metric

ROOT = pathlib.Path(__file__).resolve().parents[2]
MISSING = Entry("nobody", "Nobody", "base:Peer", "a-distribution-that-does-not-exist")


def run_short(tmp_path: pathlib.Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    file = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks", "--short", "--out", str(file), *arguments]
    run = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert file.exists(), run.stderr
    return run, json.loads(file.read_text())


@pytest.mark.timeout(600)
def test_short_run_of_ours_answers_every_question(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("numpy")
    run, found = run_short(tmp_path, "--peers", OURS, LIMIT)
    asked = {metric.key for name in questions.NAMES for metric in questions.find_question(name).metrics}
    assert set(found["results"]) == asked
    assert found["short"] is True
    assert {"cpu", "cores", "memory_bytes", "kernel"} <= set(found["machine"])
    assert found["versions"]["python"]
    assert found["versions"]["pyzmq"]
    for key, by_peer in found["results"].items():
        for peer in (OURS, LIMIT):
            answer = by_peer[peer]
            assert "failed" not in answer, f"{key}: {answer}\n{run.stderr}"
            assert "missing" not in answer
            assert answer.get("absent") or answer["median"] > 0
    for title in ("task, round trip p50", "actor calls pipelined", "SIGKILL an actor to its next result p50"):
        assert f"| {title}" in run.stdout
    assert run.returncode == 0


def test_a_script_runs_alone(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "alone.json"
    command = [sys.executable, "-m", "benchmarks.task", "--short", "--peers", "executor", "--out", str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(json.loads(file.read_text())["results"]) == {"task_p50_us", "task_p99_us", "tasks_per_s"}


def test_profile_tells_both_sides() -> None:
    command = [sys.executable, "-m", "benchmarks.profile_call", "--calls", "5", "20"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for words in ("pipelined, 20 calls: driver", "-- round trip: driver, 5 calls", "-- pipelined: worker, 20 calls"):
        assert words in run.stdout


def test_what_is_not_there_is_said_and_never_guessed(tmp_path: pathlib.Path) -> None:
    answers = Answers(tmp_path / "answers.json")
    with answers.asking("slow_ms"):
        raise NoSuchThingError("it has none")
    with answers.asking("broken_ms"):
        raise ValueError("what happened")
    with answers.asking("good_ms") as figures:
        figures["good_ms"] = 4.0
    heard = [json.loads((tmp_path / "answers.json").read_text())]
    assert report.summarize("slow_ms", heard) == {"absent": "it has none"}
    assert report.summarize("broken_ms", heard) == {"failed": "ValueError: what happened"}
    assert report.summarize("good_ms", heard) == {"median": 4.0, "repeats": [4.0]}


def test_table_tells_ratios_missing_peers_and_reasons() -> None:
    ours, pool = find_entry(OURS), find_entry("pool")
    metrics = (Metric("call_us", "a call", "us"), Metric("calls_per_s", "many calls", "/s", higher_is_better=True))
    results: report.Results = {
        "call_us": {
            OURS: {"median": 100.0},
            "pool": {"median": 250.0},
            "nobody": {"missing": "not installed"},
        },
        "calls_per_s": {OURS: {"median": 50_000.0}, "pool": {"absent": "no calls"}, "nobody": {"failed": "it broke"}},
    }
    table = report.format_table(report.Run((ours, pool, MISSING), metrics, results, {}, 3, False))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    assert rows[0] == ["", "ipyactors", "multiprocessing.Pool", "Nobody"]
    assert ["a call", "100 us", "250 us (2.5x)", "missing"] in rows
    assert ["many calls", "50,000/s", "-", "failed"] in rows
    assert "- missing: not installed (Nobody)" in table
    assert "- no such thing: no calls (multiprocessing.Pool)" in table
    assert "- FAILED, many calls: it broke (Nobody)" in table


def test_sampling_takes_as_many_as_it_was_told() -> None:
    calls: list[int] = []
    times = sample(lambda: calls.append(1), SHORT.calls)
    assert len(times) == SHORT.calls.least
    assert len(calls) == SHORT.calls.least + SHORT.calls.warm_up
    counts: list[int] = []
    assert rate(counts.append, SHORT) > 0
    assert set(counts) == {SHORT.first_count}
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.99) == 4.0
    assert median([3.0, 1.0, 2.0, 4.0]) == 2.0


def test_adapters_load_without_their_peer() -> None:
    for entry in ENTRIES:
        assert entry.load().__class__.__doc__
