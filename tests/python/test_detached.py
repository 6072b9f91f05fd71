# SPDX-License-Identifier: Apache-2.0
"""Detached actors, and several drivers on one runtime. Each driver is a program of its own; the runtime is this
process's."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import ray
from support import alive, eventually, get, run_program

PRELUDE = """
    import os, sys, time
    import numpy as np
    import ray

    @ray.remote
    class Keeper:
        def __init__(self, *values):
            self.values = list(values)

        def add(self, value):
            self.values.append(value)
            return len(self.values)

        def all(self):
            return self.values

        def total(self):
            return float(sum(np.sum(value) for value in self.values))

        def pid(self):
            return os.getpid()

        def read(self, refs):
            return ray.get(refs[0])

        def inner(self):
            return ray.get(self.values[0][0])

        def job(self):
            return ray.get_runtime_context().get_job_id()

        def work(self, count):
            return sum(ray.get([square.remote(i) for i in range(count)]))

    @ray.remote
    def square(i):
        return i * i

    ray.init(os.environ["SESSION"], namespace=os.environ.get("SPACE"), log_to_driver="LOGS" in os.environ)
"""


@pytest.fixture(scope="module")
def runtime():
    ray.shutdown()
    ray.init(num_cpus=2, namespace="shared", log_to_driver=False, include_dashboard=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def drive(runtime, tmp_path):
    """Runs a further driver on this runtime; what it prints."""
    address = ray.get_runtime_context().gcs_address

    def run(text, space="shared", env=None, **kwargs):
        text = textwrap.dedent(PRELUDE) + textwrap.dedent(text)
        env = {"SESSION": address, "SPACE": space or "", **(env or {})}
        if not space:
            env.pop("SPACE")
        done = run_program(tmp_path, text, env=env, **kwargs)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    for entry in ray.util.list_named_actors(all_namespaces=True):
        ray.kill(ray.get_actor(entry["name"], namespace=entry["namespace"]))
    assert eventually(lambda: not ray.util.list_named_actors(all_namespaces=True))


def gone(name):
    try:
        ray.get_actor(name)
    except ValueError:
        return True
    return False


def test_it_outlives_its_driver(drive):
    """With its state, and the values of its arguments, for a restart, too."""
    drive(
        """
        small, large = ray.put(1), ray.put(np.ones(200_000))
        keeper = Keeper.options(name="till", lifetime="detached", max_restarts=1).remote(small, large, square.remote(3))
        other = Keeper.options(name="mine").remote()
        assert ray.get([keeper.add.remote(5), other.add.remote(1)]) == [4, 1]
        """
    )
    assert eventually(lambda: gone("mine"))
    keeper = ray.get_actor("till")
    assert get(keeper.add.remote(7)) == 5
    assert get(keeper.total.remote()) == 1 + 200_000 + 9 + 5 + 7
    pid = get(keeper.pid.remote())
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: restarted(keeper, pid))
    assert get(keeper.total.remote()) == 1 + 200_000 + 9


def test_its_creator_may_end_at_once(drive):
    drive("Keeper.options(name='till', lifetime='detached').remote(1, ray.put(np.ones(2_000_000)))")
    assert get(ray.get_actor("till").total.remote()) == 2_000_001


def restarted(keeper, pid):
    try:
        return get(keeper.pid.remote()) != pid
    except ray.exceptions.ActorUnavailableError:
        return False


def test_it_ends_when_it_is_killed(drive):
    drive("ray.get(Keeper.options(name='till', lifetime='detached', max_restarts=-1).remote().add.remote(1))")
    keeper = ray.get_actor("till")
    pid = get(keeper.pid.remote())
    ray.kill(keeper)
    with pytest.raises(ray.exceptions.ActorDiedError, match="ray.kill"):
        while True:  # its owner is asked to: calls that are sent at the same time may still be done
            get(keeper.add.remote(1))
    assert eventually(lambda: gone("till")) and eventually(lambda: not alive(pid))


def test_it_needs_neither_name_nor_handle(drive):
    """One without a name goes on, too; a driver that has a handle kills it."""
    pid = int(
        drive(
            """
            keeper = Keeper.options(lifetime="detached").remote()
            print(ray.get(keeper.pid.remote()))
            holder = Keeper.options(name="holder", lifetime="detached").remote([keeper])
            ray.get(holder.pid.remote())
            del keeper
            """
        )
    )
    assert alive(pid)
    keeper = get(ray.get_actor("holder").all.remote())[0][0]
    assert get(keeper.pid.remote()) == pid
    ray.kill(keeper)
    assert eventually(lambda: not alive(pid))


def test_names_are_of_namespaces(drive):
    drive("ray.get(Keeper.options(name='till', lifetime='detached').remote(1).pid.remote())", space="elsewhere")
    drive("ray.get(Keeper.options(name='till', lifetime='detached').remote(2).pid.remote())", space=None)
    assert gone("till")
    assert get(ray.get_actor("till", namespace="elsewhere").all.remote()) == [1]
    names = ray.util.list_named_actors(all_namespaces=True)
    assert len(names) == 2 and ray.util.list_named_actors() == []
    assert {"name": "till", "namespace": "elsewhere"} in names
    assert drive("print(ray.util.list_named_actors())", space="elsewhere") == "['till']\n"


def test_a_name_is_taken_once(drive):
    drive(
        """
        first = Keeper.options(name="till", lifetime="detached").remote(1)
        try:
            Keeper.options(name="till", lifetime="detached").remote(2)
        except ValueError as error:
            assert "already taken" in str(error), error
        else:
            raise AssertionError("the name was given twice")
        again = Keeper.options(name="till", lifetime="detached", get_if_exists=True).remote(3)
        assert again == first and ray.get(again.all.remote()) == [1]
        """
    )
    out = drive(
        """
        keeper = Keeper.options(name="till", lifetime="detached", get_if_exists=True).remote(4)
        print(ray.get(keeper.all.remote()))
        """
    )
    assert out == "[1]\n"


def test_its_own_tasks_and_actors_go_on(drive):
    drive(
        """
        keeper = Keeper.options(name="till", lifetime="detached").remote()
        assert ray.get(keeper.work.remote(4)) == 14
        print(ray.get(keeper.job.remote()) != ray.get_runtime_context().get_job_id())
        """
    )
    keeper = ray.get_actor("till")
    assert get(keeper.work.remote(10)) == 285


def test_refs_inside_of_arguments_are_their_owners(drive):
    drive("ray.get(Keeper.options(name='till', lifetime='detached').remote([ray.put(1)]).pid.remote())")
    keeper = ray.get_actor("till")
    with pytest.raises(ray.exceptions.RayTaskError, match="owner"):
        get(keeper.inner.remote())


def test_an_argument_that_fails_is_the_actors_end(drive):
    out = drive(
        """
        @ray.remote
        def fail():
            raise KeyError("no such luck")

        keeper = Keeper.options(name="till", lifetime="detached").remote(fail.remote())
        try:
            ray.get(keeper.all.remote())
        except Exception as error:
            print("no such luck" in str(error))
        """
    )
    assert out == "True\n"
    assert eventually(lambda: gone("till"))


@pytest.mark.ours_only("Ray keeps the reference to the argument")
def test_large_arguments_are_refused(drive):
    out = drive(
        """
        keeper = Keeper.options(name="till", lifetime="detached").remote(np.zeros(9_000_000))
        try:
            ray.get(keeper.all.remote())
        except ray.exceptions.ActorDiedError as error:
            print("at most 67108864 are copied to the head" in str(error))
        """
    )
    assert out == "True\n"


def test_a_default_lifetime(drive, tmp_path):
    drive(
        """
        ray.shutdown()
        config = ray.job_config.JobConfig(default_actor_lifetime="detached")
        ray.init(os.environ["SESSION"], namespace="shared", job_config=config)
        ray.get([Keeper.options(name="till").remote().pid.remote(),
                 Keeper.options(name="mine", lifetime="non_detached").remote().pid.remote()])
        """
    )
    assert eventually(lambda: gone("mine")) and not gone("till")
    with pytest.raises(ValueError, match="lifetime"):
        ray.job_config.JobConfig(default_actor_lifetime="for ever")


def test_drivers_do_not_disturb_each_other(drive, tmp_path):
    """Several at once; what one owns goes with it, what another one does goes on."""
    text = textwrap.dedent(PRELUDE) + textwrap.dedent(
        """
        mine = Keeper.options(name=sys.argv[1]).remote()
        ref = ray.put(np.ones(300_000))
        keeper = ray.get_actor("till")
        for i in range(50):
            assert ray.get(square.remote(i)) == i * i
            ray.get([mine.add.remote(i), keeper.add.remote(ray.get(ref).sum())])
        print(len(ray.get(mine.all.remote())))
        """
    )
    path = tmp_path / "driver.py"
    path.write_text(text)
    drive("ray.get(Keeper.options(name='till', lifetime='detached').remote().pid.remote())")
    env = {**os.environ, "SESSION": ray.get_runtime_context().gcs_address, "SPACE": "shared"}
    drivers = [
        subprocess.Popen([sys.executable, str(path), f"mine{i}"], env=env, stdout=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    killed = subprocess.Popen([sys.executable, str(path), "killed"], env=env, stdout=subprocess.PIPE)
    assert eventually(lambda: not gone("killed"))
    killed.kill()
    assert [driver.communicate(timeout=60)[0] for driver in drivers] == ["50\n"] * 3
    killed.communicate()
    assert eventually(lambda: ray.util.list_named_actors() == ["till"])
    assert len(get(ray.get_actor("till").all.remote())) >= 150


@pytest.mark.ours_only("Ray's log monitor takes its time")
def test_output_reaches_the_driver_that_made_it(drive):
    out = drive(
        """
        @ray.remote
        def speak(word):
            print("hear", word)

        @ray.remote
        class Speaker:
            def speak(self, word):
                print("hear", word)

        speaker = Speaker.options(name="till", lifetime="detached").remote()
        ray.get([speak.remote("a task"), speaker.speak.remote("an actor")])
        """,
        env={"LOGS": "1"},
    )
    assert "hear a task" in out and "hear an actor" in out
    # Nobody listens any more, and it goes on talking: more than a driver could be sent unread.
    assert get(ray.get_actor("till").speak.remote("x" * 3_000_000)) is None
