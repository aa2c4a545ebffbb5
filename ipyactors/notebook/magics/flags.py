"""Options as flags of a magic: made from the one table of options, so that help and checks never drift apart."""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import functools
import itertools
import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import cell_magic, line_magic, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.utils.process import arg_split

from ipyactors.ground.every import Every, every
from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.options import OPTIONS, Kind, Option, Place, check_names
from ipyactors.notebook.magics.usage import refusal

_Magic = TypeVar("_Magic", bound=Callable[..., Any])

#: What adds one argument to a magic.
Flag = Callable[[Any], Any]

#: What help shows in the place of a value.
_METAVARS = {
    Kind.COUNT: "N",
    Kind.AMOUNT: "X",
    Kind.BYTES: "BYTES",
    Kind.AMOUNTS: "DICT",
    Kind.TEXT: "TEXT",
    Kind.CHOICE: "WORD",
    Kind.RETURNS: "N",
    Kind.EXCEPTIONS: "TYPES",
    Kind.LEVEL: "WORD",
    Kind.POLICY: "calls=N|seconds=S",
}

#: Kinds whose flag may stand alone and then means True.
_MAY_STAND_ALONE = {Kind.FLAG, Kind.EXCEPTIONS, Kind.LEVEL}

_ARE_WORDS = {Kind.TEXT, Kind.CHOICE, Kind.LEVEL}

#: How the values of some kinds are written after a magic, where that is not as in Python.
_WRITTEN = {
    Kind.EXCEPTIONS: "names with commas between, or nothing for True",
    Kind.LEVEL: "one of the words, or nothing for True",
    Kind.POLICY: "calls=100 or seconds=5 or calls=100,seconds=5",
}

#: What the help of an option is where it is for tasks only, and tells of actors elsewhere.
_OF_TASKS = {
    "num_cpus": "CPUs held while it runs (1)",
    "name": "what messages call the task",
}


def flag(*names: str, **described: Any) -> Flag:
    """Return one argument of a magic; ``described`` is what ``argparse`` takes."""
    return argument(*names, **described)  # type: ignore[no-any-return]


#: What a magic takes that is about one actor: ``actor`` and ``namespace``.
ACTOR = (
    flag(
        "actor",
        metavar="ACTOR",
        help="Its name, or its id as %%actors shows it (or the beginning), or a variable with a handle.",
    ),
    flag("--namespace", metavar="TEXT", help="Where the name is; by default the session's own namespace."),
)

#: What a magic takes that submits a cell: ``into``.
INTO = flag("-o", metavar="NAME", dest="into", help="Put the reference to the result under this name; show nothing.")


def line_magic_with(*flags: Flag) -> Callable[[_Magic], _Magic]:
    """Make a method a line magic with these arguments, and its help from them. ``{}`` and ``$`` are left alone."""
    return _magic_with(line_magic, flags)


def cell_magic_with(*flags: Flag) -> Callable[[_Magic], _Magic]:
    """Make a method a cell magic with these arguments, as :func:`line_magic_with` does."""
    return _magic_with(cell_magic, flags, sign="%%")


def cell_magic_with_options(*places: Place, before: Sequence[Flag] = ()) -> Callable[[_Magic], _Magic]:
    """Make a method a cell magic with one flag for each option that may be given at ``places``."""
    offered = [option for option in OPTIONS.values() if not option.places.isdisjoint(places)]
    return cell_magic_with(*before, *(_flag_for(option, places) for option in offered))


def _magic_with(marker: Callable[[Any], Any], flags: Sequence[Flag], *, sign: str = "%") -> Callable[[_Magic], _Magic]:
    def decorate(method: _Magic) -> _Magic:
        @functools.wraps(method)
        def take_line(self: Any, line: str, *cell: str) -> Any:
            __tracebackhide__ = True
            return method(self, without_comment(line), *cell)

        magic: Any = marker(take_line)
        for one in reversed(flags):
            magic = one(magic)
        # IPython writes one percent sign before the name in the help, whatever kind of magic it is.
        decorated: _Magic = no_var_expand(magic_arguments(sign[1:] + method.__name__)(magic))
        return decorated

    return decorate


def parse_line(magic: Any, line: str) -> argparse.Namespace:
    """Return what was given to a magic whose words and flags may stand in any order. Raises UsageError."""
    with _refusing(magic.parser, line):
        words = _with_defaults(magic.parser, arg_split(line))
        given: argparse.Namespace = magic.parser.parse_intermixed_args(words)
    return given


@contextlib.contextmanager
def _refusing(parser: argparse.ArgumentParser, line: str) -> Iterator[None]:
    """Say in our words what is wrong with a line. Raises UsageError."""
    try:
        yield
    except UsageError as error:
        raise refusal(parser, str(error)) from None
    except ValueError:
        raise refusal(parser, f"there is no closing quotation mark in {line.strip()}") from None


def _with_defaults(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Return the words, each option that stands alone before a word which cannot be its value with what that means.

    ``--log acct`` becomes ``--log=20 acct``: ``argparse`` would take the next word, whatever it is.
    """
    options = {name: action for action in parser._actions for name in action.option_strings}
    for index, (word, following) in enumerate(itertools.pairwise(words)):
        action = options.get(word)
        if action is not None and action.nargs == "?" and isinstance(action.type, type):
            try:
                action.type(following)
            except ValueError:
                words[index] = f"{word}={action.const}"
    return words


def without_comment(line: str) -> str:
    """Return what stands after a magic up to a ``#`` that begins a word, outside of quotes."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line


def _flag_for(option: Option, places: Sequence[Place]) -> Flag:
    where = " and ".join(sorted(option.places.intersection(places), reverse=True)).replace("remote ", "")
    text = _OF_TASKS.get(option.name, option.help) if list(places) == [Place.TASK] else option.help
    described: dict[str, Any] = {"default": None, "help": f"{text}. Takes {option.takes}."}
    if len(places) > 1:
        described["help"] = f"[{where}] {described['help']}"
    if option.kind in _WRITTEN:
        described["help"] += f" Here: {_WRITTEN[option.kind]}."
    if option.kind in _MAY_STAND_ALONE:
        described |= {"nargs": "?", "const": "True"}
    described["metavar"] = _METAVARS.get(option.kind, "BOOL")
    described["help"] = described["help"].replace("%", "%%")
    return flag("--" + option.name.replace("_", "-"), **described)


def parse_flags(magic: Any, line: str, *places: Place) -> dict[str, str | None]:
    """Return what was given to the flags of a cell magic with the options of ``places``, by name.

    Raises OptionError for what is no flag, UsageError for one without its value.
    """
    with _refusing(magic.parser, line):
        given, unknown = magic.parser.parse_known_args(arg_split(line))
    if unknown:
        why = _explain_unknown(unknown[0], places, getattr(given, "checkpoint", None))
        raise OptionError(f"{why} Nothing was done; %{magic.parser.prog}? lists the options.")
    flags: dict[str, str | None] = vars(given)
    return flags


def _explain_unknown(word: str, places: Sequence[Place], policy: str | None) -> str:
    """Return what is wrong with a word of the magic's line that is neither a flag nor the value of one.

    ``policy`` is what stands after ``--checkpoint``.
    """
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    if policy and name in ("calls", "seconds"):
        return f"Write both with a comma and no space: --checkpoint {policy.rstrip(',')},{word}."
    if not name.isidentifier():
        return f"{word!r} is not an option."
    try:
        check_names({name: None}, *places)
    except OptionError as error:
        return str(error)
    return f"Write --{name.replace('_', '-')} and its value instead of {word!r}."


def name_of(given: str | None) -> str:
    """Return the name given after ``-o``, empty if none is. Raises OptionError for what is no name of a variable."""
    name = (given or "").removeprefix("$")
    if given is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise OptionError(f"-o {given}: takes the name of a variable. Nothing was done.")
    return name


def read_options(given: Mapping[str, str | None], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the flags that were given. ``namespace`` is where names of exception types are found.

    Raises OptionError where a value cannot be read, or is one that the option does not take.
    """
    values = {name: _read(OPTIONS[name], text, namespace) for name, text in given.items() if text is not None}
    for name, value in values.items():
        OPTIONS[name].parse(value)
    return values


def _read(option: Option, text: str, namespace: Mapping[str, Any]) -> Any:
    text = without_quotes(text)
    if text.startswith("$") and text[1:].isidentifier():
        if text[1:] not in namespace:
            raise OptionError(f"{option.name}: there is no variable {text[1:]!r} in this notebook.", option=option.name)
        return namespace[text[1:]]
    if option.kind is Kind.EXCEPTIONS and text not in {"True", "False"}:
        return [_exception_type(option, name, namespace) for name in text.strip("[]() ").split(",") if name.strip()]
    if option.kind is Kind.POLICY:
        return _policy(option, text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return text if option.kind in _ARE_WORDS and not isinstance(value, bool) else value


def _policy(option: Option, text: str) -> Every:
    """Return what ``calls=100,seconds=5`` says; it may also be written as in Python, as a call of ``every``."""
    words = text.removeprefix("every(").removesuffix(")") if text.startswith("every(") else text
    try:
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in _keywords(words)}
    except (ValueError, SyntaxError):
        given = {}
    if not given or not given.keys() <= {"calls", "seconds"}:
        raise OptionError(
            f"{option.name}={text!r}: takes {option.takes}; after %%remote, write "
            f"--checkpoint {_WRITTEN[option.kind]}.",
            option=option.name,
        )
    return every(**given)  # type: ignore[arg-type]


def _keywords(words: str) -> list[ast.keyword]:
    """Return the arguments of a call, all of which must be given by keyword. Raises SyntaxError."""
    call = ast.parse(f"f({words})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args:
        raise SyntaxError(words)
    return call.keywords


def text_of(word: str, variables: Mapping[str, Any]) -> str:
    """Return a word without its quotes, or what the variable ``$x`` holds. Raises OptionError if there is none."""
    text = without_quotes(word)
    if not text.startswith("$"):
        return text
    if text[1:] not in variables:
        raise OptionError(f"there is no variable {text[1:]!r} in this notebook. Nothing was done.")
    return str(variables[text[1:]])


def without_quotes(text: str) -> str:
    """Return ``text`` without a pair of quotes around it; IPython leaves them on."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _exception_type(option: Option, name: str, namespace: Mapping[str, Any]) -> Any:
    first, *rest = name.strip().split(".")
    missing = object()
    value = namespace.get(first, getattr(builtins, first, missing))
    for attribute in rest:
        value = getattr(value, attribute, missing)
    if value is missing:
        raise OptionError(
            f"{option.name}: there is no {name.strip()!r} in this notebook. It takes {option.takes}; "
            "after %%remote, write the types with commas between: --retry-exceptions OSError,ValueError",
            option=option.name,
        )
    return value
