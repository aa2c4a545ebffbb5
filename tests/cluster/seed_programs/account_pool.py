"""Horizontal scaling: an account whose state is kept by a pool of persistence actors."""

import sys
from os.path import exists

import ipyactors.compat.ray as ray
from ipyactors.compat.ray.util import ActorPool

ray.init(num_cpus=2)


@ray.remote
class FilePersistence:
    def __init__(self, basedir: str):
        self.basedir = basedir

    def exists(self, key: str) -> bool:
        return exists(self.basedir + "/" + key)

    def save(self, keyvalue: tuple) -> bool:
        key, value = keyvalue
        with open(self.basedir + "/" + key, "wb") as f:
            f.write(ray.cloudpickle.dumps(value))
        return True

    def restore(self, key: str):
        if not self.exists(key):
            return None
        with open(self.basedir + "/" + key, "rb") as f:
            return ray.cloudpickle.loads(f.read())


@ray.remote
class Account:
    def __init__(self, balance: float, minimal_balance: float, account_key: str, persistence: ActorPool):
        self.persistence = persistence
        self.key = account_key
        if not self.restorestate():
            self.balance = balance
            self.minimal = minimal_balance
            self.storestate()

    def balance(self) -> float:
        return self.balance

    def deposit(self, amount: float) -> float:
        self.balance = self.balance + amount
        self.storestate()
        return self.balance

    def restorestate(self) -> bool:
        self.persistence.submit(lambda actor, key: actor.restore.remote(key), self.key)
        state = self.persistence.get_next()
        if state is None:
            return False
        self.balance = state["balance"]
        self.minimal = state["minimal"]
        return True

    def storestate(self):
        state = {"balance": self.balance, "minimal": self.minimal}
        self.persistence.submit(lambda actor, keyvalue: actor.save.remote(keyvalue), (self.key, state))
        self.persistence.get_next()


pool = ActorPool([FilePersistence.remote(sys.argv[1]) for _ in range(3)])

for _ in range(2):
    account_actor = Account.options(name="Account").remote(
        balance=99.0, minimal_balance=11.0, account_key="secretaccountkey", persistence=pool
    )
    print(ray.get(account_actor.deposit.remote(1.0)))
    ray.kill(account_actor)
