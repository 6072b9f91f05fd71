# SPDX-License-Identifier: Apache-2.0
"""Actors: creation, state, order, handles, names, options."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import ray
from actor_classes import SOON_S, Account, PlainAccount, Savings, gone, nap, pay_in, slowly, wait_until
from ray import exceptions
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


# ---- calls ----------------------------------------------------------------------------------------------------------


def test_state_is_kept_and_calls_are_in_order():
    account = Account.remote(100)
    assert get([account.deposit.remote(1) for _ in range(300)]) == list(range(101, 401))


def test_arguments_of_the_constructor():
    assert get(Account.remote(5, owner="ann").whose.remote()) == "ann"
    assert get(Account.remote(slowly.remote(7, 0.1)).deposit.remote(1)) == 8
    with pytest.raises(TypeError):
        Account.remote(1, 2)
    with pytest.raises(TypeError):
        Account.remote(nobody=1)


def test_arguments_are_checked_by_the_caller():
    account = Account.remote()
    with pytest.raises(TypeError):
        account.deposit.remote()
    with pytest.raises(TypeError):
        account.deposit.remote(1, 2)
    with pytest.raises(AttributeError, match="withdraw"):
        account.withdraw
    with pytest.raises(TypeError, match="deposit.remote"):
        account.deposit(1)
    with pytest.raises(TypeError, match="PlainAccount.remote"):
        Account()


def test_kinds_of_methods():
    account = Savings.remote(200)
    assert get(account.yearly.remote()) == 220
    assert get(account.bank.remote()) == "the bank"
    assert get(account.class_name.remote()) == "Savings"
    assert get(account.halves.remote()) == [110, 110]
    one, two = account.halves.options(num_returns=2).remote()
    assert get([one, two]) == [110, 110]
    assert get(account.__ray_ready__.remote()) is True
    assert get(account.__ray_call__.remote(lambda self, more: self.balance + more, 1)) == 221


def test_many_returns_and_large_values():
    account = Account.remote()
    big = np.arange(1_000_000)
    account.note.remote(big)
    account.note.remote(ray.put(big))
    assert get(account.notes.remote()) == [int(big.sum())] * 2


def test_a_late_argument_holds_back_only_later_calls_of_its_caller():
    account = Account.remote()
    account.note.remote(slowly.remote(1, 1.0))
    account.note.remote(2)
    start = time.monotonic()
    assert get(pay_in.remote(account, 3)) == 3  # another caller
    assert time.monotonic() - start < 0.9
    assert get(account.notes.remote()) == [1, 2]


def test_a_failed_argument_fails_its_call_alone():
    account = Account.remote()

    @ray.remote
    def broken():
        raise KeyError("gone")

    with pytest.raises(KeyError):
        get(account.deposit.remote(broken.remote()))
    assert get(account.deposit.remote(2)) == 2


def test_an_exception_keeps_its_class_and_the_actor_lives_on():
    account = Account.remote()
    with pytest.raises(LookupError, match="no such page") as caught:
        get(account.fail.remote("no such page"))
    assert isinstance(caught.value, exceptions.RayTaskError)
    assert "actor_id=" in str(caught.value) and "PlainAccount.fail" in str(caught.value)
    assert get(account.deposit.remote(1)) == 1


def test_actors_make_and_use_actors():
    @ray.remote
    class Manager:
        def __init__(self, count):
            self.accounts = [Account.remote(i) for i in range(count)]

        def total(self):
            return sum(ray.get([a.deposit.remote(0) for a in self.accounts]))

        def lend(self, i):
            return self.accounts[i]

    manager = Manager.remote(4)
    assert get(manager.total.remote()) == 6
    lent = get(manager.lend.remote(3))
    assert get(lent.deposit.remote(10)) == 13
    assert get(manager.total.remote()) == 16


def test_num_cpus_is_held_for_life():
    def free():
        return ray.available_resources().get("CPU", 0)

    wait_until(lambda: free() == 2)
    idle = Account.remote()
    get(idle.pid.remote())
    assert free() == 2  # by default none
    held = Account.options(num_cpus=1, resources={"slot": 3}).remote()
    get(held.pid.remote())
    wait_until(lambda: free() == 1 and ray.available_resources()["slot"] == 1)
    del held
    wait_until(lambda: free() == 2 and ray.available_resources()["slot"] == 4)


@pytest.mark.ours_only("a new actor takes Ray half a second")
def test_actors_run_though_all_cpus_are_busy():
    naps = [nap.remote(2) for _ in range(2)]
    time.sleep(0.3)
    start = time.monotonic()
    assert get([Account.remote(i).deposit.remote(0) for i in range(5)]) == list(range(5))
    assert time.monotonic() - start < 1.5
    get(naps)


# ---- handles --------------------------------------------------------------------------------------------------------


def test_handles_travel():
    account = Account.remote()
    assert sorted(get([pay_in.remote(account, 1) for _ in range(5)])) == [1, 2, 3, 4, 5]
    box = ray.put({"account": [account]})
    inner = get(box)["account"][0]
    assert inner == account and hash(inner) == hash(account) and len({inner, account}) == 1
    assert get(inner.deposit.remote(1)) == 6

    @ray.remote
    def through(refs):
        return ray.get(ray.get(refs[0])["account"][0].deposit.remote(1))

    assert get(through.remote([box])) == 7


def test_an_actor_lives_as_long_as_somebody_has_a_handle():
    account = Account.remote(3)
    pid = get(account.pid.remote())
    box = ray.put([account])
    del account
    time.sleep(0.3)
    assert not gone(pid)
    assert get(get(box)[0].deposit.remote(1)) == 4
    del box
    wait_until(lambda: gone(pid))


def test_calls_under_way_are_finished_when_the_handle_goes():
    account = Account.remote()
    refs = [account.nap.remote(0.1) for _ in range(3)]
    del account
    pids = get(refs)
    assert len(set(pids)) == 1
    wait_until(lambda: gone(pids[0]))
    assert get(Account.remote(5).deposit.remote(1)) == 6  # the handle is gone before the call is sent


def test_constructor_arguments_live_as_long_as_the_actor_may_restart():
    big = ray.put(np.ones(200_000))

    @ray.remote(max_restarts=1)
    class Sum:
        def __init__(self, values):
            self.total = float(values.sum())

        def total_and_pid(self):
            return self.total, os.getpid()

    actor = Sum.remote(big)
    del big
    total, pid = get(actor.total_and_pid.remote())
    os.kill(pid, signal.SIGKILL)

    def again():
        try:
            return get(actor.total_and_pid.remote())[1] != pid
        except exceptions.ActorUnavailableError:
            return False

    wait_until(again)
    assert get(actor.total_and_pid.remote())[0] == total == 200_000.0


def test_runtime_context_of_an_actor():
    account = Account.options(name="context").remote()
    assert get(account.about_me.remote()) == (account._actor_id.hex(), "context", False)
    me = get(account.myself.remote())
    assert me == account and get(me.deposit.remote(4)) == 4
    with pytest.raises(TypeError):
        ray.actor.exit_actor()


# ---- names ----------------------------------------------------------------------------------------------------------


def test_names():
    account = Account.options(name="till").remote(5)
    assert get(ray.get_actor("till").deposit.remote(1)) == 6
    assert ray.get_actor("till") == account
    with pytest.raises(ValueError, match="taken"):
        Account.options(name="till").remote()
    assert "till" in ray.util.list_named_actors()
    assert "till" in [entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True)]
    other = Account.options(name="till", namespace="elsewhere").remote(50)
    assert get(ray.get_actor("till", namespace="elsewhere").deposit.remote(0)) == 50
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")
    with pytest.raises(ValueError):
        ray.get_actor("")
    with pytest.raises(ValueError):
        Account.options(name="").remote()
    with pytest.raises(TypeError):
        Account.options(name=3)
    del account, other


def test_a_name_is_free_again_when_its_actor_is_dead():
    account = Account.options(name="short").remote()
    pid = get(account.pid.remote())
    del account
    wait_until(lambda: gone(pid))

    def found():
        try:
            ray.get_actor("short")
        except ValueError:
            return False
        return True

    wait_until(lambda: not found())
    again = Account.options(name="short").remote(1)
    assert get(again.deposit.remote(1)) == 2
    ray.kill(again)
    wait_until(lambda: not found())


def test_get_if_exists_raced():
    @ray.remote
    def join(i):
        account = Account.options(name="race", get_if_exists=True).remote()
        ray.get(account.note.remote(i))
        return account

    handles = get([join.remote(i) for i in range(8)])
    assert all(handle == handles[0] for handle in handles)
    assert sorted(get(handles[0].notes.remote())) == list(range(8))
    with pytest.raises(ValueError, match="name must be specified"):
        Account.options(get_if_exists=True).remote()


def test_who_finds_an_actor_at_once_can_use_it():
    @ray.remote(num_cpus=0)
    class Finder:
        def meet(self, count):
            return [self.call(f"met{i}") for i in range(count)]

        def call(self, name):
            end = time.monotonic() + SOON_S
            while True:
                try:
                    return ray.get(ray.get_actor(name).deposit.remote(1))
                except ValueError:  # not yet there
                    assert time.monotonic() < end

    finders = [Finder.remote() for _ in range(2)]
    get([finder.__ray_ready__.remote() for finder in finders])
    count = 100
    met = [finder.meet.remote(count) for finder in finders]
    accounts = []
    for i in range(count):
        accounts.append(Account.options(name=f"met{i}", num_cpus=0).remote())
        time.sleep(0.01)
    assert [sorted(pair) for pair in zip(*get(met))] == [[1, 2]] * count


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_restarts": "2"}, TypeError),
        ({"max_restarts": -2}, ValueError),
        ({"num_returns": 2}, ValueError),
        ({"lifetime": "for ever"}, ValueError),
        ({"max_retries": 1}, ValueError),
        ({"concurrency_groups": {"io": 2}}, ValueError),
    ],
)
def test_wrong_options(options, error):
    with pytest.raises(error):
        Account.options(**options).remote()


def test_a_decorator_with_options():
    @ray.remote(num_cpus=0, max_restarts=2, name="decorated")
    class Thing:
        def name(self):
            return ray.get_runtime_context().get_actor_name()

    thing = Thing.remote()
    assert get(thing.name.remote()) == "decorated"
    with pytest.raises(ValueError, match="Invalid option"):
        ray.remote(max_calls=1)(PlainAccount)


def test_method_options():
    account = Account.remote()
    assert get(account.deposit.options(name="pay").remote(1)) == 1


# ---- ActorPool ------------------------------------------------------------------------------------------------------


def test_actor_pool():
    pool = ray.util.ActorPool([Account.remote(i * 100) for i in range(2)])
    assert len(list(pool.map(lambda a, v: a.deposit.remote(v), range(6)))) == 6
    assert sorted(pool.map_unordered(lambda a, v: a.whose.remote(), range(3))) == ["nobody"] * 3
    pool.submit(lambda a, v: a.nap.remote(v), 0.3)
    assert pool.has_next() and pool.has_free()
    with pytest.raises(TimeoutError):
        pool.get_next_unordered(timeout=0.01)
    assert pool.get_next() > 0
    assert not pool.has_next()
    idle = pool.pop_idle()
    assert get(idle.whose.remote()) == "nobody"
    pool.push(idle)
    with pytest.raises(ValueError):
        pool.push(idle)


# ---- back-pressure --------------------------------------------------------------------------------------------------


@pytest.mark.ours_only("how much may wait unread is ours to say")
def test_calls_wait_for_an_actor_that_reads_nothing():
    account = Account.remote()
    pid = get(account.pid.remote())
    os.kill(pid, signal.SIGSTOP)
    done = []

    def call():
        done.extend(account.note.remote(np.zeros(11_000)) for _ in range(1500))  # 130 MB

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(1)
    assert caller.is_alive()  # and this thread runs meanwhile
    os.kill(pid, signal.SIGCONT)
    caller.join(SOON_S)
    assert not caller.is_alive() and len(get(done)) == 1500
    assert get(account.notes.remote()) == [0] * 1500
