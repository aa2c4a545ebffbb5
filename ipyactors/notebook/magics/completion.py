"""TAB on the line of one of our magics: its options, and what it takes.

The options are those of the magic's own parser, so whatever has one is completed, and nothing is said twice. What a
word may be, its argument says: by its choices, by the kind of the option, or by its name (``actor``) or what help
shows in the place of its value (``FILE``).
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import dataclasses
import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.utils.process import arg_split

from ipyactors.api import runtime
from ipyactors.api.actor import ActorClass
from ipyactors.api.checkpoint_list import list_checkpoints
from ipyactors.api.config import SETTINGS
from ipyactors.api.handles import ActorHandle
from ipyactors.ground.exceptions import IpyactorsError
from ipyactors.ground.options import OPTIONS, Kind
from ipyactors.notebook.magics.chaos_magic import is_taken
from ipyactors.notebook.magics.completion_words import Expected, expected
from ipyactors.notebook.magics.which_actor import handle_of
from ipyactors.wire.specs import ActorState

#: The beginning of a line up to the cursor, of which the rest is for the magic.
_MAGIC_LINE = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?(%{1,2})(\w+)\s(.*)$", re.DOTALL)

#: What may be written as the value of an option, by its kind, or by its name where that says more.
_OF_KIND = {
    Kind.FLAG: ("True", "False"),
    Kind.LEVEL: ("process", "host", "True", "False"),
    Kind.POLICY: ("calls=", "seconds="),
    Kind.RETURNS: ("streaming",),
}
_OF_OPTION = {"lifetime": ("detached", "non_detached"), "checkpoint_store": ("kv",), "retry_exceptions": ("True",)}


class MagicCompleter:
    """Completes in one shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def install(self) -> None:
        """Be asked at each TAB."""
        self._shell.Completer.custom_matchers.append(self.match)

    def uninstall(self) -> None:
        """Take :meth:`install` back."""
        self._shell.Completer.custom_matchers.remove(self.match)

    @context_matcher(identifier="ipyactors.magics")  # type: ignore[untyped-decorator]
    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return what may stand at the cursor; nothing if that is not on a line of ours. Called by IPython."""
        wanted = self._expected(context)
        found = [] if wanted is None else [*self._values(wanted), *self._options(wanted)]
        return SimpleMatcherResult(
            completions=found,
            suppress=bool(found),
            ordered=True,
            matched_fragment=context.token if wanted is None else wanted.begun,
        )

    def _expected(self, context: CompletionContext) -> Expected | None:
        line = _MAGIC_LINE.match(context.text_until_cursor)
        if line is None:
            return None
        sign, name, rest = line.groups()
        before = context.full_text.split("\n")[: context.cursor_line]
        if sign == "%%" and "".join(before).strip():  # a cell magic is on the first line
            return None
        magic = self._shell.magics_manager.magics["cell" if sign == "%%" else "line"].get(name)
        parser = getattr(magic, "parser", None)
        owner = type(getattr(magic, "__self__", None)).__module__
        if not isinstance(parser, argparse.ArgumentParser) or owner.partition(".")[0] != "ipyactors":
            return None
        words = arg_split(rest, strict=False)
        if not rest or rest[-1].isspace():
            words.append("")
        found = expected(parser, words)
        if name != "chaos":
            return found
        return dataclasses.replace(
            found,
            options=tuple(option for option in found.options if is_taken(option.lstrip("-"), found.given)),
            values=tuple(action for action in found.values if is_taken(action.dest, found.given)),
        )

    def _options(self, wanted: Expected) -> Iterator[SimpleCompletion]:
        for option in wanted.options:
            yield SimpleCompletion(option, type="option")

    def _values(self, wanted: Expected) -> Iterator[SimpleCompletion]:
        for action in wanted.values:
            kind, words = self._words_for(action, wanted)
            for word in dict.fromkeys(words):
                if word.startswith(wanted.begun):
                    yield SimpleCompletion(word, type=kind)

    def _words_for(self, action: argparse.Action, wanted: Expected) -> tuple[str, Iterable[str]]:
        """Return what sort of words an argument takes, and which there are."""
        variables = self._shell.user_ns
        option = OPTIONS.get(action.dest)
        if wanted.begun.startswith("$"):
            return "variable", sorted(f"${name}" for name in variables if not name.startswith("_"))
        if action.choices is not None:
            return "value", map(str, action.choices)
        if action.dest == "actor":
            return "actor", [*_names_of_actors(), *_variables_with(ActorHandle, variables)]
        if action.metavar == "CLASS":
            return "class", _variables_with(ActorClass, variables)
        if action.metavar == "METHOD":
            return "method", self._methods(wanted.given)
        if action.metavar == "FILE":
            return "path", _paths(wanted.begun)
        if action.dest == "restore":
            return "checkpoint", self._checkpoints(wanted.given)
        if action.metavar == "NAME=VALUE":
            return "value", (f"{name}={choice}" for name, one in SETTINGS.items() for choice in one.choices)
        if option is None:
            return "value", ()
        if option.kind is Kind.EXCEPTIONS:
            begun = wanted.begun.rpartition(",")[0]
            return "class", (f"{begun}{',' if begun else ''}{name}" for name in _exceptions(variables))
        return "value", _OF_OPTION.get(option.name, _OF_KIND.get(option.kind, ()))

    def _checkpoints(self, given: Iterable[str]) -> list[str]:
        """Return the checkpoints of the actor that one of the words before means, as a table shows them."""
        for word in given:
            with contextlib.suppress(IpyactorsError):
                handle = handle_of(word, None, self._shell.user_ns)
                return [one.checkpoint_id[:10] for one in list_checkpoints(handle)]
        return []

    def _methods(self, given: Iterable[str]) -> list[str]:
        """Return the methods of the actor that one of the words before means."""
        for word in given:
            with contextlib.suppress(IpyactorsError):
                handle = handle_of(word, None, self._shell.user_ns)
                return [name for name in dir(handle) if name in handle._ipyactors_plans.methods]
        return []


def _names_of_actors() -> list[str]:
    """Return the names of the live actors of this namespace; none if nobody can say now."""
    engine = runtime.live_engine()
    try:
        actors = engine.describe_cluster().actors if engine is not None else ()
    except IpyactorsError:
        return []
    return sorted(
        one.name
        for one in actors
        if engine is not None and one.name and one.namespace == engine.namespace and one.state is not ActorState.DEAD
    )


def _variables_with(kind: type, variables: dict[str, Any]) -> list[str]:
    return sorted(name for name, value in variables.items() if isinstance(value, kind) and not name.startswith("_"))


def _exceptions(variables: dict[str, Any]) -> list[str]:
    known = vars(builtins) | variables
    return sorted(name for name, value in known.items() if isinstance(value, type) and issubclass(value, Exception))


def _paths(begun: str) -> list[str]:
    found = sorted(glob.glob(glob.escape(begun) + "*"))
    return [path + os.sep if os.path.isdir(path) else path for path in found]
