"""What may come next on the line of a magic, told from its parser alone."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """What the word at the cursor can be: one of ``options``, or the value of an argument that one of ``values`` takes.

    ``begun`` is the part of it that is there already. ``given`` are the other words of the line, those before it first.
    ``is_attached``: it stands after ``--option=``, where quotes are no quotes.
    """

    begun: str
    options: tuple[str, ...] = ()
    values: tuple[argparse.Action, ...] = ()
    given: tuple[str, ...] = ()
    is_attached: bool = False


def expected(parser: argparse.ArgumentParser, words: Sequence[str], after: Sequence[str] = ()) -> Expected:
    """Return what the last of ``words`` can be, which is empty where a new one begins; ``after`` come others."""
    *before, current = words
    state = _State(parser)
    for word in before:
        state.take(word)
    given = (*before, *after)
    option, equals, begun = current.partition("=")
    if equals and option in state.by_name:
        return Expected(begun, values=(state.by_name[option],), given=given, is_attached=True)
    if state.open is not None and state.open.nargs != "?":
        return Expected(current, values=(state.open,), given=given)
    values = tuple(action for action in (state.open, state.positional()) if action is not None)
    if current.startswith("-"):
        return Expected(current, options=tuple(state.offered(current)), given=given)
    return Expected(current, () if current else tuple(state.offered("")), values, given)


class _State:
    """What a parser has taken. ``open`` is the option whose value comes next, or may come."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.open: argparse.Action | None = None
        self._used: set[str] = set()
        self._enter(parser)

    def _enter(self, parser: argparse.ArgumentParser) -> None:
        self.by_name = {name: action for action in parser._actions for name in action.option_strings}
        self._positionals = [action for action in parser._actions if not action.option_strings]

    def positional(self) -> argparse.Action | None:
        """Return the argument without a name that comes next."""
        return self._positionals[0] if self._positionals else None

    def offered(self, begun: str) -> Iterator[str]:
        """Yield the names of the options that were not given yet, the long one of each unless another is begun."""
        for action in dict.fromkeys(self.by_name.values()):
            if action.dest not in self._used and action.help is not argparse.SUPPRESS:
                names = [name for name in action.option_strings if name.startswith(begun)]
                yield from names[-1:]

    def take(self, word: str) -> None:
        """Go on after a whole word."""
        name, equals, _ = word.partition("=")
        if action := self.by_name.get(name):
            self._used.add(action.dest)
            self.open = action if action.nargs != 0 and not equals else None
        elif self.open is not None:
            self.open = None
        elif self._positionals:
            positional = self._positionals[0]
            if isinstance(positional, argparse._SubParsersAction):
                if word in positional.choices:
                    self._enter(positional.choices[word])
            elif positional.nargs not in ("*", "+", argparse.REMAINDER):
                del self._positionals[0]
