"""Which session is meant, and a question to its head from somebody who has no part in it."""

from __future__ import annotations

import os
import select
import time

import click
import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import home
from ipyactors.ground.exceptions import OptionError, SessionError
from ipyactors.launch.address import SessionNote, find_session, live_sessions
from ipyactors.wire.census_messages import CensusReply, CensusToOwner, TakeCensus
from ipyactors.wire.zmq_channel import ZmqChannel

#: The head answers within two seconds, whoever is silent; one that is being started again has heard no question.
_ASK_AGAIN_S = 3.0
_ASK_AT_MOST = 3

_REQUEST_ID = 1


def choose_session(name: str | None) -> SessionNote:
    """Return the session of that name, or path, or the only one that is live. Raises ClickException: exit code 1."""
    if name is not None and os.path.isabs(name):
        try:
            return find_session(name)
        except (OptionError, SessionError) as error:
            raise click.ClickException(f"{name} is not the folder of a live session.") from error
    live = live_sessions()
    if not live:
        raise click.ClickException(f"There is no live session under {home() / 'sessions'}.")
    names = ", ".join(note.paths.name for note in live)
    if name is None and len(live) > 1:
        raise click.ClickException(f"There are {len(live)} live sessions: {names}. Choose one with --session NAME.")
    found = [note for note in live if name in (None, note.paths.name)]
    if not found:
        raise click.ClickException(f"No live session is named {name!r}. There is: {names}.")
    return found[0]


def take_census(note: SessionNote) -> CensusReply:
    """Ask the session's head for everything that there is. Raises ClickException if it does not answer."""
    with zmq.Context() as context:
        channel = ZmqChannel(context, ids.new_visitor_id(), CensusToOwner)
        try:
            channel.connect(ids.HEAD_ID, note.paths.head_address)
            for _ in range(_ASK_AT_MOST):
                channel.send(ids.HEAD_ID, [TakeCensus(_REQUEST_ID)])
                reply = _await_reply(channel, time.monotonic() + _ASK_AGAIN_S)
                if reply is not None:
                    return reply
        finally:
            channel.close()
    raise click.ClickException(
        f"The head of session {note.paths.name} did not answer within {_ASK_AGAIN_S * _ASK_AT_MOST:g} s. "
        f"Its log: {note.paths.state_dir}/logs/agent.log"
    )


def _await_reply(channel: ZmqChannel, deadline_s: float) -> CensusReply | None:
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        for _, messages in channel.receive():
            for message in messages:
                if isinstance(message, CensusReply):
                    return message
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return None
        if not channel.has_arrived():
            poll.poll(left_s * 1000)
