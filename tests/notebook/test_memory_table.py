"""``ipyactors.memory()`` in a real kernel: a table, and lines of cells, here and in workers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check("%load_ext ipyactors\nimport ipyactors\nipyactors.init(num_cpus=1)")
        yield running


def test_the_table_is_html_and_names_the_cell(kernel: Kernel) -> None:
    kernel.check("def make():\n    return ipyactors.put([1])\n\nref = make()")
    number = int(kernel.check("len(In) - 2").result)
    shown = kernel.check("ipyactors.memory()")
    assert {"text/plain", "text/html"} <= set(shown.mimetypes)
    assert f"Cell In[{number}], line 2, in make" in shown.result
    kernel.check("del ref")


def test_what_a_worker_makes_names_the_cell_of_its_function(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef nested():\n    import ipyactors\n    return [ipyactors.put(7)]")
    kernel.check("[inner] = ipyactors.get(nested.remote())")
    shown = kernel.check("ipyactors.memory()")
    [line] = [line for line in shown.result.splitlines() if re.search(r"Cell In\[\d+\], line 4, in nested", line)]
    assert "worker" in line
    assert "1 reference in driver" in line
