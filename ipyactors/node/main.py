"""How an agent comes to be: what it was told, its zygote, then everything else.

The zygote is forked before the agent's own parts are imported, so that both import side by side what they need.
That is most of what a start takes, and neither needs what the other one does. So this file imports little.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from typing import NoReturn

import msgspec

from ipyactors.ground.config import AgentConfig
from ipyactors.node.entry import Roles, wakeup_descriptor
from ipyactors.node.lifelines import ReadyPipe
from ipyactors.node.processes import Processes
from ipyactors.wire import liveness

_log = logging.getLogger(__name__)


def main() -> None:
    """Be the agent. Arguments: alive descriptor, ready descriptor, the lock's if there is one. Ends the process."""
    run_agent(Roles())


def run_agent(roles: Roles) -> NoReturn:
    """Be an agent whose head and workers are ``roles``."""
    alive_fd, ready_fd, *lock_fds = (int(word) for word in sys.argv[2:])
    # For the head that is exec'd later: these are the agent's own. The lock's descriptor stays open until the end.
    for descriptor in (alive_fd, ready_fd, *lock_fds):
        os.set_inheritable(descriptor, False)
    ready = ReadyPipe(ready_fd)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s agent %(levelname)s: %(message)s")
    code = 1
    agent = None
    try:
        config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=AgentConfig)
        sys.argv[1:] = []
        liveness.adopt_orphans()
        wakeup = wakeup_descriptor(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        processes = Processes(config, roles, wakeup)
        processes.fork_zygote()
        from ipyactors.node.agent import Agent  # not before the fork, see the head of this file

        agent = Agent(config, processes, alive_fd, ready)
        agent.start()
        agent.serve()
        code = agent.exit_code
    except BaseException:
        _log.exception("the agent ends because of an error of its own; everything on this machine ends with it")
        ready.say(traceback.format_exc().encode())
    finally:
        if agent is not None:
            agent.end()
        logging.shutdown()
        os._exit(code)
