"""``config()``: how this process behaves towards its user; may be changed at any time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.options import nearest


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What may be chosen; the first of ``choices`` is the default."""

    choices: Mapping[str, str]

    @property
    def default(self) -> str:
        """What holds until something else is chosen."""
        return next(iter(self.choices))


#: Each setting by its name, and what each choice means.
SETTINGS: Mapping[str, Setting] = {
    "interrupt": Setting(
        {
            "cancel": "what an interrupted cell has submitted and nobody else waits for is cancelled",
            "keep": "what an interrupted cell has submitted goes on",
        }
    ),
}

_chosen: dict[str, str] = {}


def config(**settings: str) -> dict[str, str]:
    """Change settings of this process; return all of them, also when nothing is given.

    ``interrupt`` says what becomes of a notebook's cell that is stopped: with ``"cancel"`` (the default) the tasks that
    it has submitted and nobody else waits for are cancelled, and its method calls that have not begun are withdrawn;
    with ``"keep"`` all of them go on. Actors are never touched.

    Starts nothing. Raises OptionError for a setting or a choice that there is not; nothing is changed then.
    """
    for name, choice in settings.items():
        _check(name, choice)
    _chosen.update(settings)
    return {name: setting(name) for name in SETTINGS}


def setting(name: str) -> str:
    """Return what a setting is."""
    return _chosen.get(name) or SETTINGS[name].default


def _check(name: str, choice: object) -> None:
    problem, kind = "", OptionError
    if name not in SETTINGS:
        names = sorted(SETTINGS)
        problem = f"config has no {name!r}.{nearest(name, names)} There is: {', '.join(names)}."
    elif choice not in (choices := list(SETTINGS[name].choices)):
        problem = f"{name}={choice!r}: takes {' or '.join(map(repr, choices))}"
        if isinstance(choice, str):
            problem += f".{nearest(choice, choices)}"
        else:
            problem, kind = f"{problem}, not {type(choice).__name__}.", OptionTypeError
    if problem:
        raise kind(f"{problem} Nothing was changed.", option=name)
