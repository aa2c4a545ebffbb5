"""What every test of this ring has besides: it runs in no call, and in no actor, whatever ran before it here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipyactors.owner import current


@pytest.fixture(autouse=True)
def _in_no_call(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(current, "_actor", None)
    monkeypatch.setattr(current, "_incarnation", 0)
    current.call.set(None)
    yield
    current.call.set(None)
