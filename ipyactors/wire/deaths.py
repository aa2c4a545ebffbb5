"""How a process ended, in words, and what it had begun: one place, because errors, events and tables all say it."""

from __future__ import annotations

import signal

import msgspec

from ipyactors.wire.specs import Death, LossReason

#: The status of a process that leaves its work to the next one, which may find what was missing. It is no fault of the
#: actor's, and not counted as one.
TRY_AGAIN = 75


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, and ``signal 99`` for what has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_started(death: Death, caller_id: bytes) -> int | None:
    """Return the highest number among a caller's calls that had begun (0: none had); None where nobody can know."""
    return None if death.reason is LossReason.NODE_LOST else death.started.get(caller_id, 0)


def without_words(death: Death) -> Death:
    """Return a report as it is kept, when those whom it concerns have heard what the process has said last."""
    return msgspec.structs.replace(death, words=()) if death.words else death


def describe_death(death: Death | None) -> str:
    """Return how a process ended, in half a sentence without a full stop."""
    if death is None:
        return "ended, and nothing more is known of it"
    match death.reason:
        case LossReason.OUT_OF_MEMORY:
            return _memory(death)
        case LossReason.NODE_LOST:
            return f"was lost with its node{_in_brackets(death.detail)}"
        case LossReason.START_FAILED:
            return f"could not be started{_in_brackets(death.detail)}"
        case LossReason.OWNER_DIED:
            return "was ended because the process that created it is gone"
        case LossReason.INIT_FAILED:
            return f"was ended because {death.detail or 'its constructor raised'}"
        case LossReason.RECOVERY_FAILED:
            return f"was ended because {death.detail or 'its state could not be brought back'}"
        case LossReason.INTENDED:
            return f"was ended on purpose{_in_brackets(death.detail)}"
        case _ if death.signal is not None:
            return f"was killed by {signal_name(death.signal)}{_in_brackets(death.detail)}"
        case _ if death.exit_code is not None:
            return f"exited with code {death.exit_code}{_in_brackets(death.detail)}"
    return f"ended{_in_brackets(death.detail)}"


def _in_brackets(detail: str) -> str:
    return f" ({detail})" if detail else ""


def _memory(death: Death) -> str:
    used = f"{death.max_rss_bytes / 1e9:.1f} GB" if death.max_rss_bytes else "unknown use"
    limit = f" of {death.limit_bytes / 1e9:.1f} GB allowed" if death.limit_bytes else ""
    return f"was killed by SIGKILL, out of memory ({used}{limit})"
