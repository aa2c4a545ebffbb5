"""The basic actor: named, called, looked up."""

import ipyactors.compat.ray as ray

# start ray
ray.init()


@ray.remote
class Account:
    def __init__(self, balance: float, minimal_balance: float):
        # initialize account and balance
        self.minimal = minimal_balance
        if balance < minimal_balance:
            raise Exception("ERROR :: Starting balance is less than minimal balance")
        self.balance = balance

    def balance(self) -> float:
        # get current balance (private state)
        return self.balance

    def deposit(self, amount: float) -> float:
        # take deposit and update balance state
        if amount < 0:
            raise Exception("ERROR :: Cannot deposit negative amount")
        self.balance = self.balance + amount
        return self.balance

    def withdraw(self, amount: float) -> float:
        # release withdraw and update balance state
        if amount < 0:
            raise Exception("ERROR :: Cannot withdraw negative amount")
        balance = self.balance - amount
        if balance < self.minimal:
            raise Exception("ERROR :: Withdrawal is not supported by current balance")
        self.balance = balance
        return balance


# invoke remote actor instance
account_actor = Account.options(name="Account").remote(balance=99.0, minimal_balance=11.0)

# do procedure calls to interact with instance
print(f"INFO :: Current Balance: {ray.get(account_actor.balance.remote())}")
print(f"INFO :: Balance after Withdraw: {ray.get(account_actor.withdraw.remote(66.0))}")
print(f"INFO :: Balance after Deposit: {ray.get(account_actor.deposit.remote(33.0))}")
print(f"INFO :: Balance after Deposit: {ray.get(ray.get_actor('Account').deposit.remote(33.0))}")
try:
    ray.get(account_actor.withdraw.remote(1000.0))
except Exception as error:
    print(error)

# detached, and killed by hand
detached = Account.options(name="Saved", lifetime="detached").remote(balance=100.0, minimal_balance=20.0)
del detached
print(ray.get_actor("Saved"))
ray.kill(ray.get_actor("Saved"))
try:
    print(ray.get_actor("Saved"))
except ValueError:
    print("no such actor any more")


# exited from inside
@ray.remote
class Leaver:
    def leave(self):
        ray.actor.exit_actor()

    def ping(self):
        return "pong"


leaver = Leaver.options(name="Leaver", lifetime="detached").remote()
print(ray.get(leaver.ping.remote()))
for call in (leaver.leave, leaver.ping):
    try:
        ray.get(call.remote())
    except ray.exceptions.RayActorError:
        print("it has left")
