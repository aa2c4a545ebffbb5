"""Bars of calls that run side by side in one actor, and bars below bars: each moves in its place, none is repeated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel
from tests.support.page import Shown

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

THREADS = """%%remote --max-concurrency 2
class Bars:
    def __init__(self): self.both = threading.Barrier(2)
    def work(self, name, *, says):
        from tqdm.auto import tqdm
        with tqdm(total=20, desc=name, mininterval=0) as bar:
            self.both.wait()
            for number in range(20):
                bar.update()
                if says and number == 10: tqdm.write(f'{name} half')
            self.both.wait()
        print('done')"""

ASYNC = """%%remote --max-concurrency 2
class Bars:
    def __init__(self): self.open = 0
    async def both(self, number):
        self.open += 1
        while self.open < number: await asyncio.sleep(0.001)
    async def work(self, name, *, says):
        from tqdm.auto import tqdm
        with tqdm(total=20, desc=name, mininterval=0) as bar:
            await self.both(2)
            for number in range(20):
                bar.update()
                if says and number == 10: tqdm.write(f'{name} half')
                await asyncio.sleep(0)
            await self.both(4)
        print('done')"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel({"IPYACTORS_NONINTERACTIVE": ""}) as running:
        running.check("%load_ext ipyactors\nimport asyncio, ipyactors, threading\nipyactors.init(num_cpus=2)")
        yield running


def shown_by(kernel: Kernel, code: str) -> list[Shown]:
    """Run a cell; return what is under it."""
    cell = kernel.start(code)
    shown = kernel.finish(cell)
    assert shown.status == "ok", shown.traceback
    return kernel.page.under(cell)


def printed(shown: list[Shown]) -> list[str]:
    return sorted(line for one in shown if one.kind == "stdout" for line in one.text.splitlines())


@pytest.mark.parametrize("says", [False, True])
@pytest.mark.parametrize("definition", [THREADS, ASYNC])
def test_bars_of_two_calls_of_one_actor(kernel: Kernel, definition: str, *, says: bool) -> None:
    kernel.check(definition)
    shown = shown_by(
        kernel,
        f"bars = Bars.remote(); ipyactors.get([bars.work.remote(name, says={says}) for name in ('one', 'two')]);",
    )
    moving = [one for one in shown if one.kind == "display"]
    assert sorted(one.text.partition("|")[0][-9:] for one in moving) == ["one: 100%", "two: 100%"], moving
    assert all("20/20" in one.text and one.updates for one in moving)
    assert not any("\n" in one.text for one in moving), moving
    said = [line.partition(") ")[2] for line in printed(shown)]
    assert said == sorted(["done"] * 2 + (["one half", "two half"] if says else []))
    assert not [one for one in shown if one.kind == "stderr"]
    kernel.check("ipyactors.kill(bars)")


def test_a_bar_at_a_place_of_its_own_and_one_below_another(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def nested():
    from tqdm.auto import tqdm
    for _ in tqdm(range(5), desc='below', position=1, mininterval=0): pass
    for _ in tqdm(range(2), desc='outer', mininterval=0):
        for _ in tqdm(range(5), desc='inner', position=1, leave=False, mininterval=0): pass"""
    )
    shown = shown_by(kernel, "ipyactors.get(nested.remote())")
    (moving,) = shown
    assert [line.partition(":")[0] for line in moving.text.splitlines()] == ["(nested) below", "(nested) outer"]
    assert "5/5" in moving.text
    assert "2/2" in moving.text
