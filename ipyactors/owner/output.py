"""What calls print, shown in a terminal: each line behind the name of the task or actor that printed it."""

from __future__ import annotations

import sys

from ipyactors.wire.worker_messages import OutputWritten


def prefixed(output: OutputWritten) -> str:
    """Return the text with ``(source) `` before each line."""
    prefix = f"({output.source}) " if output.source else ""
    return "".join(f"{prefix}{line}\n" for line in output.text.splitlines())


def show_in_terminal(output: OutputWritten) -> None:
    """Write to this process's standard output or error, whichever the call wrote to."""
    stream = sys.stdout if output.stream == 1 else sys.stderr
    if stream is not None:
        stream.write(prefixed(output))
        stream.flush()


def show_nothing(output: OutputWritten) -> None:
    """Drop it; the worker's log has it."""
