"""What may come next on a magic's line, from its parser: no shell is needed."""

from __future__ import annotations

import argparse

import pytest

from ipyactors.notebook.magics.completion_words import expected


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("actor")
    made.add_argument("file", nargs="?")
    made.add_argument("--log", nargs="?", const="20")
    made.add_argument("--name")
    made.add_argument("-o", "--into")
    made.add_argument("--quiet", action="store_true")
    return made


def words(*line: str, of: argparse.ArgumentParser | None = None) -> tuple[str, str, str]:
    """Return what is begun, the options and the arguments that may come, as words."""
    found = expected(of or parser(), line)
    return found.begun, " ".join(found.options), " ".join(action.dest for action in found.values)


@pytest.mark.parametrize(
    ("line", "begun", "options", "values"),
    [
        ([""], "", "--log --name --into --quiet", "actor"),
        (["ac"], "ac", "", "actor"),
        (["-"], "-", "--log --name --into --quiet", ""),
        (["--n"], "--n", "--name", ""),
        (["-o"], "-o", "-o", ""),
        (["--name", ""], "", "", "name"),
        (["--name", "x", ""], "", "--log --into --quiet", "actor"),
        (["--name=x"], "x", "", "name"),
        (["--name=x", ""], "", "--log --into --quiet", "actor"),
        (["acct", ""], "", "--log --name --into --quiet", "file"),
        (["acct", "a.txt", ""], "", "--log --name --into --quiet", ""),
        (["acct", "--log", ""], "", "--name --into --quiet", "log file"),
        (["acct", "--log", "--q"], "--q", "--quiet", ""),
        (["acct", "--quiet", "--q"], "--q", "", ""),
    ],
)
def test_options_and_arguments(line: list[str], begun: str, options: str, values: str) -> None:
    assert words(*line) == (begun, options, values)


def test_a_command_has_options_of_its_own() -> None:
    made = argparse.ArgumentParser(add_help=False)
    commands = made.add_subparsers(dest="command")
    kill = commands.add_parser("kill", add_help=False)
    kill.add_argument("actor")
    kill.add_argument("--after")
    commands.add_parser("storm", add_help=False)
    assert words("k", of=made) == ("k", "", "command")
    assert words("kill", "", of=made) == ("", "--after", "actor")
    assert words("kill", "acct", "--after", "", of=made) == ("", "", "after")
    assert words("storm", "", of=made) == ("", "", "")


def test_words_behind_the_cursor_count_as_given() -> None:
    found = expected(parser(), ["--name", ""], ["acct"])
    assert [action.dest for action in found.values] == ["name"]
    assert found.given == ("--name", "acct")


def test_a_value_behind_an_equals_sign_is_attached() -> None:
    assert expected(parser(), ["--name=x"]).is_attached
    assert not expected(parser(), ["--name", "x"]).is_attached
