"""Tensors of torch: their storages stay outside of the pickle, and arrive as torch would have sent them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from ipyactors.wire import serialize

torch = pytest.importorskip("torch")

N = 100_000


def parts(value: Any) -> tuple[int, list[int]]:
    payload = serialize.dumps(value)
    return len(payload.data), [view.nbytes for view in payload.buffers]


def sent(value: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody is to hear of read-only memory
        return serialize.loads(serialize.owned(serialize.dumps(value)))


TENSORS: dict[str, Any] = {
    "float": torch.arange(N, dtype=torch.float32),
    "half": torch.ones(N, dtype=torch.float16),
    "bfloat16": torch.ones(N, dtype=torch.bfloat16),
    "float8": torch.ones(N).to(torch.float8_e4m3fn),
    "uint16": torch.ones(N, dtype=torch.uint16),
    "bool": torch.ones(N, dtype=torch.bool),
    "complex": torch.ones(N, dtype=torch.complex64),
    "conjugated": (torch.ones(N, dtype=torch.complex64) * 2j).conj(),
    "negated": (torch.ones(N, dtype=torch.complex64) * 2j).conj().imag,
    "every other": torch.arange(2 * N)[::2],
    "transposed": torch.ones(300, 400).t(),
    "with gradient": torch.ones(N, requires_grad=True),
    "parameter": torch.nn.Parameter(torch.ones(N)),
    "fixed parameter": torch.nn.Parameter(torch.ones(N), requires_grad=False),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_arrives_as_it_was(name: str) -> None:
    tensor = TENSORS[name]
    pickled, outside = parts(tensor)
    assert outside == [tensor.untyped_storage().nbytes()]
    assert pickled < 2_000
    arrived = sent(tensor)
    assert type(arrived) is type(tensor)
    for what in ("dtype", "shape", "requires_grad"):
        assert getattr(arrived, what) == getattr(tensor, what)
    assert (arrived.stride(), arrived.is_conj(), arrived.is_neg()) == (
        tensor.stride(),
        tensor.is_conj(),
        tensor.is_neg(),
    )
    as_bytes = [x.detach().resolve_conj().resolve_neg().contiguous().view(torch.uint8) for x in (arrived, tensor)]
    assert torch.equal(*as_bytes)


def test_a_storage_is_not_copied_when_it_is_sent() -> None:
    tensor = torch.ones(N)
    (buffer,) = serialize.dumps(tensor).buffers
    assert np.frombuffer(buffer, "u1").ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize("size", [10, 2_000, N])
def test_tensors_that_share_a_storage_share_it_there(size: int) -> None:
    base = torch.zeros(size)
    half, whole, again = sent([base[: size // 2], base, torch.nn.Parameter(base)])
    with torch.no_grad():
        half[0] = 5
    assert whole[0] == again[0] == 5
    assert base[0] == 0
    assert len(parts([base[: size // 2], base])[1]) == (size == N)


@pytest.mark.parametrize("size", [3, N])
def test_attributes_arrive(size: int) -> None:
    tensor = torch.ones(size)
    tensor.note = {"unit": "m"}
    assert sent(tensor).note == {"unit": "m"}


def test_a_small_part_of_a_storage_is_sent_alone() -> None:
    base = torch.arange(100 * N, dtype=torch.float32)
    part = base[N : 2 * N].reshape(100, -1).requires_grad_()
    part.note = "kept"
    assert parts(part)[1] == [N * 4]
    arrived = sent(part)
    assert torch.equal(arrived, part)
    assert (arrived.requires_grad, arrived.note) == (True, "kept")
    assert parts(torch.nn.Parameter(base[:N]))[1] == [N * 4]
    assert parts([base, base[:N]])[1] == [100 * N * 4]
    assert parts(base[:10])[1] == []
    assert parts(torch.ones(1).expand(N))[1] == []


def test_modules_and_their_state() -> None:
    module = torch.nn.Linear(300, 300)
    module.register_buffer("seen", torch.zeros(N))
    pickled, outside = parts(module)
    assert sorted(outside) == [300 * 300 * 4, N * 4]
    assert pickled < 10_000
    arrived = sent(module)
    assert torch.equal(arrived.weight, module.weight)
    x = torch.ones(300)
    assert torch.equal(arrived(x), module(x))
    arrived(x).sum().backward()
    torch.optim.SGD(arrived.parameters(), lr=0.1).step()
    assert not torch.equal(arrived.weight, module.weight)


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors(layout: str) -> None:
    tensor = getattr(torch.eye(20_000 if layout == "to_sparse" else 2_000)[:, :2_000], layout)()
    arrived = sent(tensor)
    assert arrived.layout == tensor.layout
    assert torch.equal(arrived.to_dense(), tensor.to_dense())


def test_empty_tensors_and_those_without_data() -> None:
    assert sent(torch.ones(0, 3)).shape == (0, 3)
    assert sent(torch.ones(3, device="meta")).device.type == "meta"
    assert sent(torch.UntypedStorage(0)).nbytes() == 0
    assert sent(torch.ones(3).untyped_storage()).nbytes() == 12


def test_memory_of_numpy_that_two_tensors_have_is_sent_once() -> None:
    array = np.zeros(N)
    first, second = sent([torch.from_numpy(array), torch.from_numpy(array)])
    first[0] = 1
    assert second[0] == 1
    assert parts([torch.from_numpy(array), torch.from_numpy(array)])[1] == [N * 8]


def test_what_may_not_be_written_where_it_is_is_copied() -> None:
    class Fatal(bytearray):
        is_write_fatal = True

    payload = serialize.dumps(torch.zeros(N))
    memory = Fatal(payload.buffers[0])
    arrived = serialize.loads(payload.with_bytes(payload.data, (memoryview(memory),)))
    arrived[0] = 1
    assert not any(memory)


def test_who_has_no_torch_in_use_does_not_load_it() -> None:
    code = """
import sys
import numpy
from ipyactors.wire import serialize
for value in ({1}, numpy.ones(10), numpy.ones(100_000)[::2]):
    serialize.loads(serialize.dumps(value))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
