"""An actor that writes its own checkpoint and reads it when it comes back."""

import os
import pickle
import sys

import ipyactors.compat.ray as ray

CHECKPOINT = os.path.join(sys.argv[1], "checkpoint.pkl")


class MyState:
    def __init__(self):
        self.processed = 0


# max_restarts tells Ray to restart the actor infinite times
# max_task_retries tells Ray to transparently retries actor call when you call ray.get(actor.process.remote())
@ray.remote(max_restarts=-1, max_task_retries=-1)
class ImmortalActor:
    def __init__(self):
        if os.path.exists(CHECKPOINT):
            with open(CHECKPOINT, "rb") as file:
                self.state = pickle.load(file)
        else:
            self.state = MyState()

    def process(self):
        self.state.processed += 1
        with open(CHECKPOINT + ".tmp", "wb") as file:
            pickle.dump(self.state, file)
        os.replace(CHECKPOINT + ".tmp", CHECKPOINT)
        if self.state.processed in (3, 5):
            os._exit(1)  # after the checkpoint, before the answer: the call is made again
        return self.state.processed


ray.init()
actor = ImmortalActor.remote()
print([ray.get(actor.process.remote()) for _ in range(6)])
