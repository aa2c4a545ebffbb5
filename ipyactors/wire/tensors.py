"""Tensors of torch in the memory of the CPU: their storages are buffers, all else is as torch pickles it.

So what torch keeps is kept: strides, conjugation, attributes, parameters, and which tensors share a storage. A tensor
that is a small part of its storage is sent alone.

Torch has no read-only tensors, and nothing keeps one from writing to the memory that it was given. Of a value from the
store that is a private mapping (``store/reader.py``): what is written is seen in this process only. Torch is never
imported but by what it has pickled itself.
"""

from __future__ import annotations

import functools
import pickle
import sys
import warnings
from typing import Any

from ipyactors.wire.outside import SMALLEST_BUFFER_BYTES, Outside

#: A tensor whose storage is more than so many times as large, and more than a page larger, is sent alone.
_STORAGE_AT_MOST = 2

#: What torch's own allocations are multiples of, at least; code for vectors may count on it.
_ALIGNMENT = 16


def reduce(value: Any, outside: Outside) -> Any:
    """Return how a value of one of torch's types is rebuilt; NotImplemented if torch may say so."""
    torch = sys.modules["torch"]
    kind = type(value)
    if kind is torch.Tensor:
        return _reduce_tensor(value, outside)
    if kind is torch.UntypedStorage:
        return _reduce_storage(value, outside)
    if kind is torch.storage.TypedStorage:
        storage = value._untyped_storage
        if storage.device.type != "cpu":
            return NotImplemented
        return _typed_storage, (outside.storages.setdefault(_key(storage), storage), value.dtype)
    return NotImplemented


def _reduce_tensor(tensor: Any, outside: Outside) -> Any:
    torch = sys.modules["torch"]
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_nested:
        return NotImplemented
    storage = tensor.untyped_storage()
    size = tensor.numel() * tensor.element_size()
    is_part = storage.nbytes() > max(size * _STORAGE_AT_MOST, size + SMALLEST_BUFFER_BYTES)
    if is_part and not tensor.is_quantized and _key(storage) not in outside.storages:
        outside.expect(size)
        alone = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        alone.__dict__.update(tensor.__dict__)
        tensor = alone
        storage = alone.untyped_storage()
    if not (tensor.__dict__ or tensor._backward_hooks or tensor.is_conj() or tensor.is_neg() or tensor.is_quantized):
        # The same as torch's own way, in a third of its time.
        place = tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
        return _tensor, (storage, str(tensor.dtype), place, tensor.requires_grad)
    build, args = tensor.__reduce_ex__(5)
    if type(args[0]) is torch.UntypedStorage:  # newer types; their own way back wants a typed one, and fails
        args = (torch.storage.TypedStorage(wrap_storage=args[0], dtype=torch.uint8, _internal=True), *args[1:])
    return build, args


def _reduce_storage(storage: Any, outside: Outside) -> Any:
    if storage.device.type != "cpu":
        return NotImplemented
    address, size = key = _key(storage)
    if not size:
        return _empty_storage, ()
    if not address:  # zeros that torch makes when they are asked for
        return NotImplemented
    known = outside.storages.setdefault(key, storage)
    if known is not storage:
        return _same, (known,)
    import ctypes  # nobody else here needs it

    memory: Any = (ctypes.c_char * size).from_address(address)
    memory.storage = storage  # which it keeps alive
    return _storage, (pickle.PickleBuffer(memory),)


def _key(storage: Any) -> tuple[int, int]:
    return storage.data_ptr(), storage.nbytes()


# -- back ----------------------------------------------------------------------------------------------------------


def _same(storage: Any) -> Any:
    return storage


def _empty_storage() -> Any:
    import torch  # type: ignore[import-not-found]

    return torch.UntypedStorage(0)


def _tensor(storage: Any, dtype: str, place: tuple[Any, ...], requires_grad: bool) -> Any:
    import torch

    tensor = torch.empty(0, dtype=getattr(torch, dtype.removeprefix("torch.")), device="cpu").set_(storage, *place)
    return tensor.requires_grad_() if requires_grad else tensor


def _typed_storage(storage: Any, dtype: Any) -> Any:
    import torch

    return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def _storage(memory: Any) -> Any:
    """Return a storage that is this memory: a bytearray, or a view of a mapping or of a message."""
    import torch

    if getattr(getattr(memory, "obj", None), "is_write_fatal", False):
        memory = bytearray(memory)
    if isinstance(memory, memoryview):
        _hear_of_read_only()
    storage = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
    return storage if storage.data_ptr() % _ALIGNMENT == 0 else storage.clone()


@functools.cache
def _hear_of_read_only() -> None:
    """Have torch say, once and to nobody, that there are no read-only tensors; it says so once in a process."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.frombuffer(b"\0", dtype=torch.uint8)
