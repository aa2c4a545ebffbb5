"""What a user is to know of what stands after a magic, in one line: what is wrong with it, what he is warned of."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

from IPython.core.error import UsageError

from ipyactors.ground.exceptions import ActorNotFoundError, OptionError


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
