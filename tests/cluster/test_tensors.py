"""Tensors of torch in the store: read where they are, and written to by nobody but whoever writes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import anatomy
from tests.support.gates import LIMIT_S

torch = pytest.importorskip("torch")

N = 100_000


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def is_mapped(tensor: Any) -> bool:
    """Return whether a tensor's memory is a file of the session's store."""
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            low, high = (int(word, 16) for word in line.split()[0].split("-"))
            if low <= tensor.data_ptr() < high:
                return anatomy.paths().store_dir in line
    return False


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_a_tensor_is_read_where_it_is(ia: Any, dtype: Any) -> None:
    @ia.remote
    def echo(value: Any) -> Any:
        return value

    tensor = torch.ones(N, dtype=dtype)
    for arrived in (ia.get(ia.put(tensor)), ia.get(echo.remote(tensor), timeout=LIMIT_S)):
        assert torch.equal(arrived, tensor)
        assert is_mapped(arrived)


def test_writing_to_a_tensor_is_seen_in_this_process_only(ia: Any) -> None:
    @ia.remote
    def first(value: Any) -> float:
        return float(value[0])

    @ia.remote
    def change(value: Any) -> float:
        value[0] = 7
        return float(value[0])

    ref = ia.put(torch.ones(N))
    mine = ia.get(ref)
    mine[0] = 5
    assert mine[0] == 5
    assert ia.get(first.remote(ref), timeout=LIMIT_S) == 1
    assert ia.get(change.options(max_retries=0).remote(ref), timeout=LIMIT_S) == 7
    assert mine[:2].tolist() == [5, 1]


def test_a_model_is_trained_where_it_was_sent(ia: Any) -> None:
    @ia.remote(max_retries=0)
    def train(model: Any, x: Any) -> Any:
        model(x).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        return model

    model = torch.nn.Linear(300, 300)
    before = model.weight.detach().clone()
    trained = ia.get(train.remote(model, torch.ones(300)), timeout=LIMIT_S)
    assert not torch.equal(trained.weight, before)
    assert torch.equal(model.weight, before)
    assert is_mapped(trained.weight)
