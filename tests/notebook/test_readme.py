"""The notebook cells with which README begins, run as they stand there."""

from __future__ import annotations

import pathlib
import re

import pytest

from tests.support.kernels import running_kernel
from tests.support.leaks import RunFolders

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def test_the_first_cells_do_what_they_say() -> None:
    text = README.read_text()
    cells = re.findall(r"```python\n(.*?)```", text[: text.index("The same without a notebook")], re.DOTALL)
    assert len(cells) == 3
    folders = RunFolders.make()
    with running_kernel(folders.environment()) as kernel:
        for cell in cells[:-1]:
            kernel.check(cell)
        shown = kernel.check(cells[-1])
        assert "acct" in shown.result
        assert kernel.check("await acct.deposit.remote(33.0)").result == "133.0"
        kernel.check("ipyactors.shutdown()")
    folders.remove()
