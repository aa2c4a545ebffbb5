"""The ends of other machines' agents: noticed by the descriptors of processes, told when nothing of them is left.

An agent's workers end with it: each is killed when its parent is, by the kernel. That takes a moment, in which a worker
may still run what an owner would already send elsewhere. So a machine is lost when its agent *and* the workers that the
head knows of have ended. Once an agent is gone, that cannot take long, and is not waited for longer than a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ipyactors.wire.watch import Watch

#: After its agent, a machine's workers have this long to end before it is called lost all the same.
WORKERS_END_WITHIN_S = 3.0


class AgentWatch:
    """Watches agents, and after their end their workers. ``workers_of`` returns a machine's worker ids and pids."""

    def __init__(self, workers_of: Callable[[bytes], Mapping[bytes, int]]) -> None:
        self._workers_of = workers_of
        self._agents = Watch()
        self._workers = Watch()
        self._ending: dict[bytes, tuple[set[bytes], float]] = {}
        """By node id: the workers that have yet to end, and until when that is waited for (s, monotonic)."""

    def add(self, node_id: bytes, pid: int) -> None:
        """Watch an agent from now on. Harmless if it is watched, or was."""
        if node_id not in self._ending:
            self._agents.add(node_id, pid)

    def take_lost(self, now_s: float) -> list[bytes]:
        """Return the machines of which nothing is left, each once."""
        for node_id in self._agents.take_ended():
            pids = self._workers_of(node_id)
            self._ending[node_id] = set(pids), now_s + WORKERS_END_WITHIN_S
            for worker_id, pid in pids.items():
                self._workers.add(worker_id, pid)
        if not self._ending:
            return []
        ended = self._workers.take_ended()
        lost = []
        for node_id, (left, until_s) in list(self._ending.items()):
            left.difference_update(ended)
            if not left or now_s >= until_s:
                lost.append(node_id)
                del self._ending[node_id]
                for worker_id in left:
                    self._workers.drop(worker_id)
        return lost

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on."""
        return (*self._agents.descriptors, *self._workers.descriptors)

    def pause_s(self, now_s: float) -> float | None:
        """Return after how long to look again although no descriptor is readable; None: never."""
        pauses = [self._agents.look_again_s, self._workers.look_again_s]
        pauses += [max(0.0, until_s - now_s) for _, until_s in self._ending.values()]
        return min((pause_s for pause_s in pauses if pause_s is not None), default=None)
