"""What is said of a state that cannot be in a checkpoint."""

from __future__ import annotations

import threading

import pytest

from ipyactors.exceptions import SerializationError
from ipyactors.wire import state


class Guarded:
    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_a_state_that_cannot_be_pickled_is_told_what_to_do() -> None:
    with pytest.raises(SerializationError) as caught:
        state.dumps(Guarded(), Guarded)
    words = str(caught.value)
    assert words.startswith("the state of Guarded cannot be in a checkpoint: attribute 'lock' is a lock, which")
    assert words.endswith("Leave it out in __getstate__, and make it anew in __setstate__.")
    assert "process" not in words
