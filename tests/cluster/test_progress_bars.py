"""Progress bars over real calls, in a terminal."""

from __future__ import annotations

import pathlib
import re
import sys

import pexpect
import pytest

pytestmark = pytest.mark.timeout(240)

PROGRAM = """
import os, pathlib
import ipyactors
ipyactors.init(num_cpus=2)

@ipyactors.remote(num_cpus=0)
def work(number):
    once = pathlib.Path(os.environ["FOLDER"], str(number))
    if number % 10 == 3 and not once.exists():
        once.touch()
        os._exit(1)
    print(f"number {number} is done")
    if number == 5:
        raise ArithmeticError

@ipyactors.remote(num_cpus=0)
def never():
    while True: pass

refs = [work.remote(number) for number in range(40)]
for ref in ipyactors.progress(refs, desc="working"): pass
print("the end of the first")
try:
    ipyactors.get(ipyactors.progress([ipyactors.put(1), never.remote()], desc="waiting"))
except KeyboardInterrupt:
    print("stopped")
ipyactors.shutdown()
"""


def test_a_bar_in_a_terminal(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPYACTORS_NONINTERACTIVE", raising=False)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    child = pexpect.spawn(sys.executable, [str(program)], encoding="utf-8", timeout=60, dimensions=(40, 120))
    try:
        child.expect_exact("the end of the first")
        lines = re.split(r"[\r\n]+", child.before)
        assert "40/40" in (last := [line for line in lines if "working" in line][-1])
        assert "4 retried, 1 failed]" in last
        assert "\x1b[33m" in last, "yellow"
        printed = [line for line in lines if "is done" in line]
        assert len(printed) == 40
        assert not [line for line in printed if "working" in line], "lines are above the bar"
        child.expect_exact("1/2 [")
        child.sendintr()
        child.expect_exact("1 left]")
        child.expect_exact("stopped")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0
