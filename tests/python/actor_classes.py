# SPDX-License-Identifier: Apache-2.0
"""The classes and functions that the tests of actors share."""

import os
import time

import numpy as np
import ray

SOON_S = 30


class PlainAccount:
    def __init__(self, balance=0, *, owner="nobody"):
        self.balance = balance
        self.owner = owner
        self.seen = []

    def deposit(self, amount):
        self.balance += amount
        return self.balance

    def note(self, what):
        self.seen.append(what if isinstance(what, int) else int(np.sum(what)))

    def notes(self):
        return self.seen

    def whose(self):
        return self.owner

    def fail(self, text):
        raise LookupError(text)

    def pid(self):
        return os.getpid()

    def nap(self, seconds):
        time.sleep(seconds)
        return os.getpid()

    def crash(self):
        os._exit(7)

    def leave(self):
        ray.actor.exit_actor()

    @ray.method(num_returns=2)
    def halves(self):
        return self.balance // 2, self.balance - self.balance // 2

    @staticmethod
    def bank():
        return "the bank"

    @classmethod
    def class_name(cls):
        return cls.__name__

    def about_me(self):
        context = ray.get_runtime_context()
        return context.get_actor_id(), context.get_actor_name(), context.was_current_actor_reconstructed

    def myself(self):
        return ray.get_runtime_context().current_actor


Account = ray.remote(PlainAccount)


@ray.remote
class Savings(PlainAccount):
    def yearly(self):
        return self.deposit(self.balance // 10)


@ray.remote
class Picky:
    def __init__(self, *_):
        raise ValueError("not today")

    def use(self):
        return 1


@ray.remote
def pay_in(account, amount):
    return ray.get(account.deposit.remote(amount))


@ray.remote
def nap(seconds):
    time.sleep(seconds)


@ray.remote
def slowly(value, seconds):
    time.sleep(seconds)
    return value


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return open(f"/proc/{pid}/stat").read().split(")")[-1].split()[0] == "Z"


def wait_until(condition):
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
