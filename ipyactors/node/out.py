"""What the agent's reactor may cause, and nothing else."""

from __future__ import annotations

from typing import Protocol

from ipyactors.node.children import Child
from ipyactors.wire.node_messages import ForkWorker, NodeToHead, NodeToProcess


class Out(Protocol):
    """The shell's side of each decision. Nothing here answers; what comes of it arrives as a fact later."""

    def tell_head(self, message: NodeToHead) -> None:
        """Send to the head. Dropped while it cannot be reached: a new head is greeted with what lives and what died."""
        ...

    def tell_process(self, process_id: bytes, message: NodeToProcess) -> None:
        """Send to a driver or worker of this machine; dropped if it is gone."""
        ...

    def fork(self, order: ForkWorker) -> None:
        """Have the zygote fork a worker."""
        ...

    def kill(self, child: Child) -> None:
        """End a worker's process, and its process group, with SIGKILL."""
        ...

    def signal(self, child: Child, number: int, *, continue_after_s: float = 0.0) -> None:
        """Send a signal to a worker's process alone, and SIGCONT after so many seconds, if any."""
        ...

    def kill_head(self) -> None:
        """End the head with SIGKILL."""
        ...

    def start_zygote(self) -> None:
        """Start another zygote in place of the one that is gone."""
        ...

    def start_head(self, head_epoch: int) -> None:
        """Start another head, and forget what was meant for the one that is gone."""
        ...

    def stop(self, detail: str, *, failed: bool) -> None:
        """End everything on this machine, and this process with it, after this turn; ``failed`` if nobody wanted it."""
        ...

    def watch(self, process_id: bytes, pid: int) -> None:
        """Watch a process that is no child; ``on_watched_gone`` follows."""
        ...

    def unwatch(self, process_id: bytes) -> None:
        """Watch it no longer."""
        ...

    def say_ready(self) -> None:
        """Tell whoever started this agent that the session can use this machine."""
        ...

    def move_away(self, segment_ids: tuple[bytes, ...]) -> None:
        """Have the first machine fetch these from this one; ``on_moved`` follows for each."""
        ...

    def clear_up(self, node_id: bytes) -> None:
        """End and remove what a further machine has left, whose agent is gone."""
        ...
