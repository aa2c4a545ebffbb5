"""Fault tolerance by regular actors and some custom logic: a controller that keeps its workers' states."""

import os
import sys

import ipyactors.compat.ray as ray
from ipyactors.compat.ray.exceptions import RayActorError

CRASHED = os.path.join(sys.argv[1], "crashed")


@ray.remote
class Worker:
    def __init__(self, *args, **kwargs):
        self.state = {"done": 0}

    def perform_task(self, *args, **kwargs):
        # This task might fail.
        (amount,) = args
        self.state["done"] += amount
        if kwargs["crash"] and not os.path.exists(CRASHED):
            open(CRASHED, "w").close()
            os._exit(1)
        return self.state["done"]

    def get_state(self):
        # Returns actor state.
        return self.state

    def load_state(self, state):
        # Loads actor state.
        self.state = state


class Controller:
    def create_workers(self, num_workers):
        self.workers = [Worker.remote() for _ in range(num_workers)]

    def perform_task_with_fault_tol(self, max_retries, *args, **kwargs):
        # Perform tasks in a fault tolerant manner.
        for _ in range(max_retries):
            worker_states = ray.get([w.get_state.remote() for w in self.workers])
            success, result = self.perform_task_on_all_workers(*args, **kwargs)
            if success:
                return result
            print("a worker died: all states are loaded into new workers")
            self.create_workers(len(self.workers))
            ray.get([w.load_state.remote(state) for w, state in zip(self.workers, worker_states)])
        return None

    def perform_task_on_all_workers(self, *args, **kwargs):
        futures = [w.perform_task.remote(*args, **kwargs) for w in self.workers]
        output = []
        unfinished = futures
        try:
            while len(unfinished) > 0:
                finished, unfinished = ray.wait(unfinished)
                output.extend(ray.get(finished))
        except RayActorError:
            return False, None

        return True, output


ray.init()
controller = Controller()
controller.create_workers(2)
print(controller.perform_task_with_fault_tol(3, 5, crash=False))
print(sorted(controller.perform_task_with_fault_tol(3, 2, crash=True)))
