"""TAB on the line of one of our magics: its options, and what it takes.

The options are those of the magic's own parser, so whatever has one is completed, and nothing is said twice. What a
word may be, its argument says: by its choices, by the kind of the option, or by its name (``actor``) or what help
shows in the place of its value (``FILE``).
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.utils.process import arg_split

from ipyactors.notebook.magics.chaos_magic import is_taken
from ipyactors.notebook.magics.completion_values import words_for
from ipyactors.notebook.magics.completion_words import Expected, expected

#: The beginning of a line up to the cursor, of which the rest is for the magic.
_MAGIC_LINE = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?(%{1,2})(\w+)\s(.*)$", re.DOTALL)

#: A word that is the same with and without quotes around it.
_NEEDS_NO_QUOTES = re.compile(r"[^\s'\"#-][^\s'\"]*")


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
        line = _MAGIC_LINE.match(context.text_until_cursor)
        before = context.full_text.split("\n")[: context.cursor_line]
        if line is None or (line[1] == "%%" and "".join(before).strip()):  # a cell magic is on the first line
            return SimpleMatcherResult(completions=[], matched_fragment=context.token)
        behind = context.line_with_cursor[context.cursor_position :]
        wanted = self._expected(line, behind)
        found = [] if wanted is None else [*self._values(wanted, line[2], behind), *self._options(wanted)]
        return SimpleMatcherResult(
            completions=found,
            suppress=bool(found),
            ordered=True,
            matched_fragment=context.token if wanted is None else wanted.begun,
        )

    def _expected(self, line: re.Match[str], behind: str) -> Expected | None:
        """Return what may stand at the cursor; ``behind`` is the rest of its line. None if it is no magic of ours."""
        sign, name, rest = line.groups()
        magic = self._shell.magics_manager.magics["cell" if sign == "%%" else "line"].get(name)
        parser = getattr(magic, "parser", None)
        owner = type(getattr(magic, "__self__", None)).__module__
        if not isinstance(parser, argparse.ArgumentParser) or owner.partition(".")[0] != "ipyactors":
            return None
        words = arg_split(rest, strict=False)
        if not words or (rest[-1].isspace() and not words[-1][-1].isspace()):  # no space within quotes
            words.append("")
        after = arg_split(behind.lstrip() if behind[:1].isspace() else behind.partition(" ")[2], strict=False)
        found = expected(parser, words, after)
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

    def _values(self, wanted: Expected, magic: str, behind: str) -> Iterator[SimpleCompletion]:
        quote = wanted.begun[:1] if wanted.begun[:1] in ("'", '"') else ""
        bare = dataclasses.replace(wanted, begun=wanted.begun.removeprefix(quote))
        for action in wanted.values:
            kind, words = words_for(action, bare, magic, self._shell.user_ns)
            for word in dict.fromkeys(words):
                if word.startswith(bare.begun) and (text := _quoted(word, quote, wanted)):
                    closed = bool(quote) and behind.startswith(quote)
                    yield SimpleCompletion(text[:-1] if closed else text, type=kind)


def _quoted(word: str, quote: str, wanted: Expected) -> str:
    """Return a word as it is to be written, in quotes if it needs them; empty if it cannot be written there."""
    if not quote and _NEEDS_NO_QUOTES.fullmatch(word):
        return word
    quote = quote or ('"' if "'" in word else "'")
    return "" if quote in word or wanted.is_attached else f"{quote}{word}{quote}"
