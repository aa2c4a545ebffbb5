"""What a user is to know of what stands after a magic, in one line: what is wrong with it, what he is warned of."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping

from IPython.core.error import UsageError

from ipyactors.ground.exceptions import ActorNotFoundError, OptionError

#: What ``int`` and ``float`` are to people.
_KINDS = {"int": "a number", "float": "a number"}


def refusal(parser: argparse.ArgumentParser, message: str) -> UsageError:
    """Return what ``parser`` has said of a line, in the words of all refusals: what is wrong, and what it takes."""
    for pattern, in_words in _REFUSALS.items():
        if said := re.fullmatch(pattern, message, re.DOTALL):
            words = in_words(parser, *said.groups())
            break
    else:
        words = f": {message}."
    return UsageError(f"%{parser.prog}{words} Nothing was done; %{parser.prog}? tells more.")


def _missing(_parser: argparse.ArgumentParser, names: str) -> str:
    return f" takes {names}, which is missing."


def _too_much(parser: argparse.ArgumentParser, words: str) -> str:
    known = [name for action in parser._actions for name in action.option_strings[-1:]]
    near = difflib.get_close_matches(words.split()[0], known, n=1) if words.startswith("-") else ()
    takes = ", ".join([str(one.metavar or one.dest) for one in parser._actions if not one.option_strings] + known)
    what = f"Did you mean {near[0]}?" if near else f"It takes {takes or 'nothing'}."
    return f" has no use for {words!r}. {what}"


def _no_value(parser: argparse.ArgumentParser, name: str) -> str:
    metavar = next((one.metavar for one in parser._actions if "/".join(one.option_strings) == name), "a value")
    return f": {name} takes {metavar}, which is missing."


def _wrong_kind(_parser: argparse.ArgumentParser, name: str, kind: str, value: str) -> str:
    return f": {name} takes {_KINDS.get(kind, kind)}, not {value}."


def _no_choice(_parser: argparse.ArgumentParser, name: str, value: str, choices: str) -> str:
    *others, last = choices.replace("'", "").split(", ")
    return f": {name} takes {', '.join(others)} or {last}, not {value}."


#: What ``argparse`` says, and what we say of it.
_REFUSALS: Mapping[str, Callable[..., str]] = {
    r"the following arguments are required: (.*)": _missing,
    r"unrecognized arguments: (.*)": _too_much,
    r"argument (\S+): expected one argument": _no_value,
    r"argument (\S+): invalid (\w+) value: (.*)": _wrong_kind,
    r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)": _no_choice,
}


@contextlib.contextmanager
def as_usage_error() -> Iterator[None]:
    """Turn an error in an option, or the name of no actor, into a UsageError: its text alone, no traceback."""
    try:
        yield
    except (OptionError, ActorNotFoundError) as error:
        raise UsageError(str(error)) from None


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of the block when that has ended, without its place, which would be a line of this package."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
    for warning in warned:
        print(f"{warning.category.__name__}: {warning.message}", file=sys.stderr)
