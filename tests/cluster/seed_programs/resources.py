"""Vertical scaling: an actor that asks for more than the default."""

import ipyactors.compat.ray as ray

ray.init(num_cpus=2, num_gpus=4)


@ray.remote(num_cpus=1, num_gpus=4, memory=500 * 1024 * 1024)
class Account:
    def ping(self):
        return "pong"


account_actor = Account.remote()
print(ray.get(account_actor.ping.remote()))
print({name: ray.available_resources().get(name, 0) for name in ("CPU", "GPU")})
