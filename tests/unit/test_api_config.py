"""The settings of a process: all of them at once, each with its choices, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import ipyactors
from ipyactors import exceptions
from ipyactors.api import config as module


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    module._chosen.clear()


def test_without_arguments_it_tells_what_holds() -> None:
    assert ipyactors.config() == {"interrupt": "cancel"}


def test_a_choice_holds_until_the_next() -> None:
    assert ipyactors.config(interrupt="keep") == {"interrupt": "keep"} == ipyactors.config()
    assert ipyactors.config(interrupt="cancel") == {"interrupt": "cancel"}


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"interupt": "keep"}, exceptions.OptionError, "no 'interupt'. Did you mean 'interrupt'? There is: interrupt."),
        ({"interrupt": "keeep"}, exceptions.OptionError, "takes 'cancel' or 'keep'. Did you mean 'keep'?"),
        ({"interrupt": True}, exceptions.OptionTypeError, "takes 'cancel' or 'keep', not bool."),
        ({"interrupt": "keep", "colour": "red"}, exceptions.OptionError, "config has no 'colour'."),
    ],
)
def test_a_wrong_one_is_explained_and_nothing_is_changed(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        ipyactors.config(**given)
    assert words in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed.")
    assert ipyactors.config() == {"interrupt": "cancel"}
