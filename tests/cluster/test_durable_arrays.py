"""A durable actor's numpy arrays after a checkpoint: what shared memory does, sums are the same to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ipyactors as ia
from tests.support.durable import get, kill, recoveries

pytestmark = pytest.mark.usefixtures("shared_runtime")


def test_a_flat_vector_and_its_named_views_stay_one_through_two_recoveries() -> None:
    @ia.remote(durable=True)
    class Parameters:
        def __init__(self) -> None:
            self.flat = np.zeros(6)
            self.weights = self.flat[:4].reshape(2, 2)
            self.bias = self.flat[4:]

        def push(self, gradient: float) -> None:
            self.flat += gradient

        @ia.method(effect="readonly")
        def look(self) -> Any:
            return self.flat.tolist(), self.weights.tolist(), self.bias.tolist()

    parameters = Parameters.remote()
    for total in (2.0, 4.0):
        get(parameters.push.remote(1.0))
        get(parameters.checkpoint())
        get(parameters.push.remote(1.0))
        kill(parameters)
        assert get(parameters.look.remote()) == ([total] * 6, [[total] * 2] * 2, [total] * 2)
    assert len(recoveries(parameters)) == 2


def test_an_array_with_gaps_is_summed_in_the_same_order() -> None:
    @ia.remote(durable=True)
    class Model:
        def __init__(self) -> None:
            normal = np.random.default_rng(0).normal(size=(300, 900))
            self.x = normal.T[::3].astype(np.float32)[:, ::2]

        def step(self) -> float:
            self.x *= np.float32(0.999)
            return float(self.x.sum())

        @ia.method(effect="readonly")
        def layout(self) -> Any:
            return self.x.strides

    model = Model.remote()
    layout = get(model.layout.remote())
    get(model.step.remote())
    get(model.checkpoint())
    get([model.step.remote() for _ in range(3)])
    kill(model)  # what is run again is compared with the log
    get(model.step.remote())
    assert get(model.layout.remote()) == layout
    assert len(recoveries(model)) == 1
