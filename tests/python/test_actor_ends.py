# SPDX-License-Identifier: Apache-2.0
"""How actors end: failing constructors, ray.kill, exit_actor, crashes and restarts, goodbyes; cancelled calls."""

import os
import signal
import time

import pytest
import ray
from actor_classes import Account, Picky, PlainAccount, gone, nap, slowly, wait_until
from ray import exceptions
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


def test_a_constructor_that_fails():
    picky = Picky.remote()
    with pytest.raises(exceptions.ActorDiedError, match="not today") as caught:
        get(picky.use.remote())
    assert "Picky.__init__" in str(caught.value) and "creation task" in str(caught.value)
    assert caught.value.actor_init_failed
    with pytest.raises(exceptions.RayActorError):
        get(picky.use.remote())


def test_kill():
    account = Account.remote()
    pid = get(account.pid.remote())
    running = account.nap.remote(60)
    time.sleep(0.2)
    ray.kill(account)
    with pytest.raises(exceptions.ActorDiedError, match="killed by `ray.kill`"):
        get(running)
    wait_until(lambda: gone(pid))
    with pytest.raises(exceptions.ActorDiedError):
        get(account.deposit.remote(1))
    with pytest.raises(ValueError, match="only supported for actors"):
        ray.kill(running)


def test_kill_before_it_has_started():
    late = slowly.remote(1, 60)
    account = Account.remote(late)
    ref = account.deposit.remote(1)
    ray.kill(account)
    with pytest.raises(exceptions.ActorDiedError):
        get(ref)
    ray.cancel(late, force=True)  # the tests after this one need its CPU


def test_kill_with_restart_before_it_has_started():
    @ray.remote
    class Needs:
        def crash(self):
            os._exit(7)

    busy = nap.options(num_cpus=2).remote(2)
    time.sleep(0.3)
    mortal = Needs.options(num_cpus=1).remote()
    ray.kill(mortal, no_restart=False)
    with pytest.raises(exceptions.ActorDiedError, match="killed by `ray.kill`"):
        get(mortal.crash.remote())
    spare = Needs.options(num_cpus=1, max_restarts=1).remote()
    ray.kill(spare, no_restart=False)
    with pytest.raises(exceptions.ActorDiedError, match="worker process has died"):
        get(spare.crash.remote())
    get(busy)


def test_exit_actor():
    account = Account.options(max_restarts=5).remote()
    pid = get(account.pid.remote())
    before, leaving, after = account.deposit.remote(1), account.leave.remote(), account.deposit.remote(1)
    assert get(before) == 1
    for ref in (leaving, after):
        with pytest.raises(exceptions.ActorDiedError):
            get(ref)
    wait_until(lambda: gone(pid))
    with pytest.raises(exceptions.ActorDiedError, match="on purpose|exit_actor"):
        get(account.pid.remote())


def test_terminate_comes_after_the_calls_before_it():
    account = Account.remote()
    refs = [account.nap.remote(0.1), account.deposit.remote(5)]
    account.__ray_terminate__.remote()
    assert get(refs)[1] == 5
    with pytest.raises(exceptions.ActorDiedError):
        get(account.deposit.remote(1))


def test_a_crash_says_what_died():
    account = Account.remote()
    pid = get(account.pid.remote())
    with pytest.raises(exceptions.ActorDiedError) as caught:
        get(account.crash.remote())
    text = str(caught.value)
    assert "class_name: PlainAccount" in text and account._actor_id.hex() in text
    assert "worker process has died" in text
    if "node 1" in text:  # ours says more
        assert f"pid {pid}" in text and "status 7" in text


def test_restart():
    account = Account.options(max_restarts=1).remote(10)
    pid = get(account.pid.remote())
    get(account.deposit.remote(5))
    with pytest.raises((exceptions.ActorUnavailableError, exceptions.ActorDiedError)):
        get(account.crash.remote())

    def up():
        try:
            return get(account.pid.remote()) != pid
        except exceptions.ActorUnavailableError:
            return False

    wait_until(up)
    assert get(account.deposit.remote(0)) == 10  # the constructor ran again, the deposit is lost
    assert get(account.about_me.remote())[2] is True
    with pytest.raises(exceptions.RayActorError):
        get(account.crash.remote())
    with pytest.raises(exceptions.ActorDiedError):
        get(account.pid.remote())


@pytest.mark.ours_only("Ray retries calls in any order")
def test_task_retries():
    account = Account.options(max_restarts=-1, max_task_retries=2).remote()
    pid = get(account.pid.remote())
    running = account.nap.remote(0.8)
    queued = [account.deposit.remote(1) for _ in range(5)]
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    assert get(running) != pid
    assert get(queued) == [1, 2, 3, 4, 5]


def test_kill_with_restart():
    account = Account.options(max_restarts=1, max_task_retries=-1).remote()
    pid = get(account.pid.remote())
    ray.kill(account, no_restart=False)
    wait_until(lambda: gone(pid))
    assert get(account.pid.remote()) != pid


def test_retry_exceptions_of_a_method():
    @ray.remote
    class Flaky:
        def __init__(self):
            self.tries = 0

        def third_time(self):
            self.tries += 1
            if self.tries < 3:
                raise ConnectionError(str(self.tries))
            return self.tries

    flaky = Flaky.remote()
    assert get(flaky.third_time.options(max_task_retries=5, retry_exceptions=True).remote()) == 3
    other = Flaky.remote()
    with pytest.raises(ConnectionError):
        get(other.third_time.options(max_task_retries=5, retry_exceptions=[KeyError]).remote())


def test_max_pending_calls():
    account = Account.options(max_pending_calls=2).remote()
    refs = [account.nap.remote(0.5) for _ in range(2)]
    with pytest.raises(exceptions.PendingCallsLimitExceeded):
        account.nap.remote(0)
    get(refs)
    get(account.nap.remote(0))


@pytest.mark.ours_only("in Ray the calls behind a cancelled one wait for it, and fail after 30 s")
def test_cancel():
    account = Account.remote()
    running, queued = account.nap.remote(0.5), account.deposit.remote(1)
    ray.cancel(queued)
    with pytest.raises(exceptions.TaskCancelledError):
        get(queued)
    assert get(running) > 0
    assert get(account.deposit.remote(0)) == 0
    with pytest.raises(ValueError, match="force=True is not supported for actor"):
        ray.cancel(account.nap.remote(0), force=True)


def test_the_end_of_a_creator_ends_its_actors():
    @ray.remote
    def make():
        account = Account.options(name="orphan").remote()
        return account, ray.get(account.pid.remote()), os.getpid()

    account, pid, creator = get(make.remote())
    os.kill(creator, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    with pytest.raises(exceptions.ActorDiedError, match="owner has died"):
        get(account.deposit.remote(1))


# ---- shutdown -------------------------------------------------------------------------------------------------------


@ray.remote
class Leaving:
    """Says goodbye in a file."""

    def __init__(self, folder):
        self.folder = folder

    def pid(self):
        return os.getpid()

    def leave(self):
        ray.actor.exit_actor()

    def __ray_shutdown__(self):
        (self.folder / str(os.getpid())).touch()


@pytest.mark.parametrize("how", ["out of scope", "terminate", "exit"])
def test_an_actor_that_ends_says_goodbye(tmp_path, how):
    actor = Leaving.remote(tmp_path)
    pid = get(actor.pid.remote())
    if how == "terminate":
        actor.__ray_terminate__.remote()
    elif how == "exit":
        actor.leave.remote()
    else:
        del actor
    wait_until(lambda: gone(pid))
    assert [path.name for path in tmp_path.iterdir()] == [str(pid)]


def test_a_killed_actor_says_nothing(tmp_path):
    actor = Leaving.remote(tmp_path)
    pid = get(actor.pid.remote())
    ray.kill(actor)
    wait_until(lambda: gone(pid))
    assert not list(tmp_path.iterdir())


def killed_account():
    """A dead actor, and the pid that it had."""
    account = Account.remote()
    pid = get(account.pid.remote())
    ray.kill(account)
    wait_until(lambda: gone(pid))
    return account, pid


def test_a_killed_actor_s_death_says_where_it_ran():
    account, pid = killed_account()
    with pytest.raises(exceptions.ActorDiedError, match=f"pid: {pid}\n"):
        get(account.deposit.remote(1))


@pytest.mark.ours_only("Ray does not say who killed it")
def test_a_killed_actor_s_death_says_who_killed_it():
    account, _ = killed_account()
    with pytest.raises(exceptions.ActorDiedError, match=rf"Called by pid {os.getpid()} on \S+ at \d+-\d+-\d+ "):
        get(account.deposit.remote(1))


# ---- cancel of a running method -------------------------------------------------------------------------------------


@ray.remote
class Patient:
    def __init__(self):
        self.seen = None

    def until_cancelled(self, *, raises=False):
        end = time.monotonic() + 30
        while not ray.get_runtime_context().is_canceled() and time.monotonic() < end:
            time.sleep(0.01)
        self.seen = ray.get_runtime_context().is_canceled()
        if raises:
            raise LookupError("mine")
        return "in vain"

    def not_looking(self):
        time.sleep(0.5)
        return "in vain"

    def last(self):
        return self.seen, ray.get_runtime_context().is_canceled()


@pytest.mark.parametrize("most", [1, 3])
def test_a_cancelled_method_is_asked_not_interrupted(most):
    actor = Patient.options(max_concurrency=most).remote()
    assert get(actor.last.remote()) == (None, False)
    for method, error in (
        (actor.until_cancelled.remote(), exceptions.TaskCancelledError),
        (actor.not_looking.remote(), exceptions.TaskCancelledError),
        (actor.until_cancelled.remote(raises=True), LookupError),
    ):
        assert ray.wait([method], timeout=0.2)[0] == []
        ray.cancel(method)
        with pytest.raises(error):
            get(method)
    assert get(actor.last.remote()) == (True, False)


def test_only_the_cancelled_one_of_several_calls_is_told():
    actor = Patient.options(max_concurrency=3).remote()
    cancelled, other = actor.until_cancelled.remote(), actor.not_looking.remote()
    assert ray.wait([cancelled, other], timeout=0.2)[0] == []
    ray.cancel(cancelled)
    with pytest.raises(exceptions.TaskCancelledError):
        get(cancelled)
    assert get(other) == "in vain"


def test_a_driver_cannot_be_cancelled():
    with pytest.raises(RuntimeError, match="Current mode: 0"):
        ray.get_runtime_context().is_canceled()
