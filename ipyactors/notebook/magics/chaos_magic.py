"""``%chaos``: a fault on purpose, or what is ordered and what was done."""

from __future__ import annotations

import argparse
import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, magics_class

from ipyactors.api import chaos, inspect, runtime
from ipyactors.api.chaos_storm import KINDS, MORE_KINDS, storm
from ipyactors.api.chaos_targets import Target
from ipyactors.api.handles import ActorHandle
from ipyactors.api.remote import ConfiguredFunction, RemoteFunction
from ipyactors.ground.exceptions import ChaosError, SessionError
from ipyactors.notebook.magics.chaos_table import ChaosTable
from ipyactors.notebook.magics.flags import flag, line_magic_with, parse_line, text_of, without_quotes
from ipyactors.notebook.magics.usage import as_usage_error
from ipyactors.notebook.magics.which_actor import handle_of

#: What a magic's line may give to each function, beside its target.
_MOMENTS = ("before", "during", "after", "nth", "times")
_MOMENTS_OF_CALLS = {"before", "during", "after"}
_TAKES = {
    "kill": ("how", *_MOMENTS),
    "exit": ("code", *_MOMENTS),
    "segfault": _MOMENTS,
    "freeze": ("seconds", *_MOMENTS),
    "fail": ("error", "on", "nth", "times"),
    "slow": ("seconds", "on", "nth", "times"),
    "drop_replies": ("times", "on", "nth"),
    "duplicate_replies": ("times", "on", "nth"),
    "delay_replies": ("seconds", "times", "on", "nth"),
    "fill_disk": ("times", "seconds"),
    "corrupt_checkpoint": (),
    "clear": (),
    "kill_head": (),
    "kill_node": (),
    "storm": ("seed", "rate", "duration", "kinds"),
}
_OPTIONS = ("how", "code", "error", "on", *_MOMENTS, "seed", "rate", "duration", "kinds")
_NEEDS_SECONDS = ("freeze", "slow", "delay_replies")
_AT_MOMENTS = tuple(what for what, takes in _TAKES.items() if "before" in takes)

#: What is done to durable actors only, and what to remote functions too.
DURABLE_ONLY = frozenset({"fill_disk", "corrupt_checkpoint"})
FUNCTIONS_TOO = _TAKES.keys() - DURABLE_ONLY - {"kill_head", "kill_node", "storm"}


def _in_api(word: str) -> str:
    """Return the name of a fault as the api has it; its words may have a dash between them, as those of options."""
    return word.replace("-", "_")


def fault_in(given: Sequence[str]) -> str:
    """Return the fault that the words of a line name, as the api has it; empty if none does."""
    return next((word for word in map(_in_api, given) if word in _TAKES), "")


def is_taken(argument: str, given: Sequence[str]) -> bool:
    """Return whether the fault that the words of a line name, if one does, takes an argument (``actor``, ``seed``)."""
    what = fault_in(given)
    if not what or argument == "what":
        return True
    return what != "kill_head" if argument == "actor" else argument in _TAKES[what]


def _no_target(given: argparse.Namespace) -> str:
    """Return what is wrong with a line without a target; that word may have been taken for a method."""
    for name in ("before", "during", "after", "on"):
        if isinstance(word := getattr(given, name), str):
            return (
                f"%chaos {given.what} takes a target, and {word!r} was taken for the METHOD of --{name}. Write the "
                f"target first: %chaos {given.what} TARGET --{name}. Nothing was done; %chaos? tells more."
            )
    return f"%chaos {given.what} takes a target. Nothing was done; %chaos? tells more."


def _check_is_now(target: Target, word: str, arguments: Mapping[str, Any]) -> None:
    """Raise UsageError for what cannot be done at once, but only at a moment of a call."""
    if arguments.keys() & {"nth", "times"}:
        raise UsageError(
            "--nth and --times count calls: write --before, --during or --after too. Nothing was done; "
            "%chaos? tells more."
        )
    if not isinstance(target, ActorHandle):
        raise UsageError(
            f"{word} is a function and has no process of its own: write --before, --during or --after, and it is "
            "done to the next attempt. Nothing was done; %chaos? tells more."
        )


@magics_class
class ChaosMagics(Magics):  # type: ignore[misc]
    """The magic for faults on purpose."""

    @line_magic_with(
        flag(
            "what",
            nargs="?",
            type=_in_api,
            choices=tuple(_TAKES),
            metavar="WHAT",
            help=f"One of {', '.join(_TAKES)}.",
        ),
        flag(
            "actor",
            nargs="?",
            metavar="TARGET",
            help="An actor: its name, its id, or a variable with a handle. Or a remote function. For kill_node, the "
            "beginning of its NodeID. For storm and clear: by default all actors.",
        ),
        flag(
            "seconds",
            nargs="?",
            type=float,
            metavar="SECONDS",
            help="How long: freeze, slow, delay_replies, fill_disk.",
        ),
        flag("--before", nargs="?", const=True, metavar="METHOD", help="When such a call is about to begin."),
        flag("--during", nargs="?", const=True, metavar="METHOD", help="When it has run, and nobody knows."),
        flag("--after", nargs="?", const=True, metavar="METHOD", help="When its end is noted, and it is not answered."),
        flag("--on", nargs="?", const=True, metavar="METHOD", help="[fail, slow, replies] Which calls. Default: any."),
        flag("--nth", type=int, metavar="N", help="At which of these calls, from 1. Default: the next."),
        flag(
            "--times", type=int, metavar="N", help="To how many calls in a row. Default: 1; slow: until it is cleared."
        ),
        flag("--how", choices=("SIGKILL", "SIGTERM"), help="[kill] Which signal."),
        flag("--code", type=int, metavar="N", help="[exit] The exit code."),
        flag("--error", metavar="EXPRESSION", help="[fail] The exception, such as ValueError('no')."),
        flag("--seed", type=int, metavar="N", help="[storm] What comes when: the same again with the same seed."),
        flag("--rate", type=float, metavar="X", help="[storm] Faults a second."),
        flag("--duration", type=float, metavar="SECONDS", help="[storm] How long it blows. Default: 10."),
        flag(
            "--kinds",
            metavar="WORDS",
            help=f"[storm] Some of these, with commas and no spaces: {', '.join([*KINDS, *sorted(MORE_KINDS)])}.",
        ),
    )
    def chaos(self, line: str) -> Any:
        """Make something go wrong on purpose, at the very call; alone, show what is ordered and what was done.

        %chaos kill acct                            end its process now
        %chaos exit acct --after deposit --nth 3    at the third deposit from now on, when it is in the log
        %chaos fail acct --on deposit --error "ValueError('no')"
        %chaos freeze acct 2                        stop its process for two seconds
        %chaos storm --seed 7 --rate 5 --duration 10   to all actors, or to the one that is named
        %chaos clear acct                           forget what is ordered

        The cell of a storm ends with it: after 10 s, unless --duration says otherwise, or at the stop button.

        In a script: ipyactors.chaos, which has a function of each name; help(ipyactors.chaos) tells more.
        """
        __tracebackhide__ = "__ipython_bottom__"
        with as_usage_error():
            given = parse_line(self.chaos, line)
            if runtime.live_engine() is None:
                words = runtime.without_session("there is no session, and so nothing that could go wrong.")
                raise UsageError(f"{words} Nothing was done.")
            if given.what is None:
                return ChaosTable(chaos.pending(), inspect.events())
            try:
                return self._call(given)
            except (ChaosError, SessionError, TypeError) as error:
                raise UsageError(str(error)) from None

    def _call(self, given: argparse.Namespace) -> Any:
        what = given.what
        arguments = self._arguments(given)
        if what == "storm":
            targets = None if given.actor is None else [self._target(given.actor)]
            return storm(**{"seed": 0, "duration": 10.0, "targets": targets} | arguments)
        function: Callable[..., Any] = getattr(chaos, what)
        if what == "kill_head" and given.actor is not None:
            raise UsageError(
                "%chaos kill_head takes no target: it kills the session's control plane. Nothing was done. "
                "%chaos kill ACTOR ends an actor's process."
            )
        if what == "kill_head" or (what == "clear" and given.actor is None):
            done = function()
        elif given.actor is None:
            raise UsageError(_no_target(given))
        elif what == "kill_node":
            done = function(text_of(given.actor, self.shell.user_ns))
        else:
            target = self._target(given.actor)
            if what in _AT_MOMENTS and not arguments.keys() & _MOMENTS_OF_CALLS:
                _check_is_now(target, given.actor, arguments)
            done = function(target, **arguments)
        if what == "clear":
            print(f"{done} order{'s' * (done != 1)} cleared")
            return None
        return done

    def _arguments(self, given: argparse.Namespace) -> dict[str, Any]:
        """Return what was given, by its name in the api. Raises UsageError for what it has no use for, or lacks."""
        what, takes = given.what, _TAKES[given.what]
        arguments = {name: value for name in (*_OPTIONS, "seconds") if (value := getattr(given, name)) is not None}
        for name in arguments:
            if name not in takes:
                word = "SECONDS" if name == "seconds" else f"--{name}"
                raise UsageError(f"%chaos {what} has no use for {word}. Nothing was done; %chaos? tells more.")
        if what in _NEEDS_SECONDS and "seconds" not in arguments:
            raise UsageError(f"%chaos {what} TARGET SECONDS: for how long? Nothing was done.")
        if what == "fail":
            arguments["error"] = self._error(given.error)
        if "kinds" in arguments:
            arguments["kinds"] = without_quotes(given.kinds).split(",")
        return arguments

    def _target(self, word: str) -> Target:
        held = self.shell.user_ns.get(without_quotes(word).removeprefix("$"))
        if isinstance(held, (RemoteFunction, ConfiguredFunction)):
            return held
        return handle_of(word, None, self.shell.user_ns)

    def _error(self, text: str | None) -> Any:
        if text is None:
            raise UsageError("%chaos fail takes --error, such as --error \"ValueError('no')\". Nothing was done.")
        try:
            return eval(without_quotes(text), vars(builtins) | self.shell.user_ns)
        except Exception as error:  # what the user has written
            raise UsageError(f"--error {text}: {type(error).__name__}: {error}. Nothing was done.") from None
