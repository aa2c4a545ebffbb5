"""What help, ``?`` and completion show of ``.remote``: the user's own signature and words."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import ipyactors
from tests.support.fake_engine import fake_engine


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    with fake_engine():
        yield


def scale(self: float, /, factor: int = 2, *rest: int, unit: str = "m", **more: int) -> str:
    """Scale a length; its first parameter has a name that a method's has, too."""
    return f"{self * factor}{unit}{rest}{more}"


@ipyactors.remote
class Account:
    """Keeps money."""

    def __init__(self, balance: float, *, currency: str = "EUR") -> None:
        self.balance, self.currency = balance, currency

    def deposit(self, amount: float, *, note: str = "") -> float:
        """Add to the balance."""
        self.balance += amount
        return self.balance + len(note)

    def look(self) -> float:
        return self.balance


remote_scale = ipyactors.remote(scale)


def shown(remote: Callable[..., Any]) -> tuple[str, str]:
    """Return what help shows of a ``.remote``: its signature, the first line of its words."""
    return str(inspect.signature(remote)), (inspect.getdoc(remote) or "").partition("\n")[0]


def test_the_remote_of_a_function_is_shown_as_the_function() -> None:
    expected = str(inspect.signature(scale)), "Scale a length; its first parameter has a name that a method's has, too."
    assert shown(remote_scale.remote) == expected
    assert shown(remote_scale.options(num_cpus=2).options(max_retries=0).remote) == expected


def test_the_remote_of_a_class_is_shown_as_its_constructor() -> None:
    expected = "(balance: 'float', *, currency: 'str' = 'EUR')", "Keeps money."
    assert shown(Account.remote) == expected
    assert shown(Account.options(name="a").options(num_cpus=2).remote) == expected


def test_the_remote_of_a_method_is_shown_as_the_method() -> None:
    account = Account.remote(1.0)
    assert shown(account.deposit.remote) == ("(amount, *, note='')", "Add to the balance.")
    assert shown(account.deposit.options(num_returns=1).remote) == ("(amount, *, note='')", "Add to the balance.")
    assert shown(pickle.loads(pickle.dumps(account)).deposit.remote)[0] == "(amount, *, note='')"


def test_without_words_of_the_users_own_it_says_what_a_call_does() -> None:
    assert shown(Account.remote(1.0).look.remote) == ("()", Account.remote(1.0).look.remote.__doc__.partition("\n")[0])
    assert shown(Account.remote(1.0).look.remote)[1].startswith("Submit one call; return its reference")


def test_in_another_process_a_signature_is_known_as_far_as_it_has_travelled() -> None:
    function, cls = cloudpickle.loads(cloudpickle.dumps((remote_scale, Account)))
    assert str(inspect.signature(function.remote)) == "(self, /, factor=2, *rest, unit='m', **more)"
    assert shown(cls.remote) == ("(balance, *, currency='EUR')", "Keeps money.")
    for one in (remote_scale.options(num_cpus=2), Account.options(num_cpus=2)):
        there = cloudpickle.loads(cloudpickle.dumps(one))
        assert list(inspect.signature(there.remote).parameters) == list(inspect.signature(one.remote).parameters)


def test_only_help_can_tell_the_difference() -> None:
    account = Account.remote(1.0)
    for one, kind in ((remote_scale, "RemoteFunction"), (Account, "ActorClass"), (account.deposit, "ActorMethod")):
        assert type(one).__name__ == kind
        assert type(one).remote.__qualname__ == f"{kind}.remote"
    assert inspect.getdoc(account.deposit) == "Add to the balance."
    assert inspect.getdoc(remote_scale) == scale.__doc__
    assert isinstance(copy.copy(remote_scale), type(remote_scale).__mro__[1])
    with pytest.raises(TypeError, match=r"Account\.deposit\(\) missing 1 required positional argument: 'amount'"):
        account.deposit.remote()


def test_a_method_can_be_sent_with_its_options() -> None:
    method = Account.remote(1.0).deposit.options(num_returns=3)
    there = cloudpickle.loads(cloudpickle.dumps(method))
    assert shown(there.remote) == ("(amount, *, note='')", "Add to the balance.")
    assert len(there.remote(1.0)) == 3


def test_a_remote_function_goes_with_its_last_reference() -> None:
    function = ipyactors.remote(lambda x: x)
    gone = weakref.ref(function)
    gc.disable()
    try:
        del function
        assert gone() is None
    finally:
        gc.enable()


CELL = """
@ipyactors.remote
class Account:
    def __init__(self, balance, *, currency="EUR"): ...
    def deposit(self, amount, *, note=""): ...

@ipyactors.remote
def scale(x, *, unit="m"): ...

account = Account.remote(1.0)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("account.deposit.remote(", "amount="), ("Account.remote(1, cu", "currency="), ("scale.remote(1, un", "unit=")],
)
def test_completion_offers_the_keyword_arguments(text: str, expected: str) -> None:
    shell = InteractiveShell()
    shell.user_ns["ipyactors"] = ipyactors
    shell.run_cell(CELL, store_history=True).raise_error()
    with provisionalcompleter():
        offered = [one.text for one in shell.Completer.completions(text, len(text))]
    assert expected in offered
