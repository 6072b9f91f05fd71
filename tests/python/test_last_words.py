# SPDX-License-Identifier: Apache-2.0
"""What an error says about the process that died: what, where, when, how, and its last lines on stderr."""

import os
import re
import signal
import sys

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, OwnerDiedError, WorkerCrashedError
from support import get

pytestmark = [
    pytest.mark.usefixtures("ray_2cpu"),
    pytest.mark.ours_only("its texts say less"),
]


def where(pid, how):
    """The text about a dead worker of this node."""
    node = ray.nodes()[0]
    place = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, node 1, rank 0, pid {pid})"
    return re.compile(re.escape(f"on {place}, at ") + r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: it " + re.escape(how))


def text_of(kind, ref):
    with pytest.raises(kind) as caught:
        get(ref)
    return str(caught.value)


@pytest.mark.parametrize("how, said", [("kill", "was killed by signal 9 (Killed)"), ("exit", "exited with status 7")])
def test_a_worker(how, said, tmp_path):
    @ray.remote(max_retries=0)
    def die():
        (tmp_path / "pid").write_text(str(os.getpid()))
        for i in range(30):
            print("line", i, file=sys.stderr)
        sys.stderr.write("my last words")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL) if how == "kill" else os._exit(7)

    text = text_of(WorkerCrashedError, die.remote())
    assert where((tmp_path / "pid").read_text(), said).search(text), text
    assert "die" in text and "line 29\nmy last words" in text and "line 3\n" not in text


class Victim:
    def pid(self):
        return os.getpid()

    def die(self):
        print("an actor's last words", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGSEGV)

    def put(self):
        return [ray.put(bytes(200_000))]


def test_an_actor_that_is_dead():
    victim = ray.remote(Victim).options(name="victim").remote()
    pid = get(victim.pid.remote())
    text = text_of(ActorDiedError, victim.die.remote())
    assert where(pid, "was killed by signal 11 (Segmentation fault)").search(text), text
    assert "class_name: Victim" in text and "name: victim" in text and "an actor's last words" in text


def test_an_actor_that_restarts():
    victim = ray.remote(Victim).options(max_restarts=1).remote()
    pid = get(victim.pid.remote())
    text = text_of(ActorUnavailableError, victim.die.remote())
    assert where(pid, "was killed by signal 11").search(text), text
    assert "an actor's last words" in text


def test_the_owner_of_an_object():
    victim = ray.remote(Victim).remote()
    pid = get(victim.pid.remote())
    (ref,) = get(victim.put.remote())
    with pytest.raises(ActorDiedError):
        get(victim.die.remote())
    text = text_of(OwnerDiedError, ref)
    assert where(pid, "was killed by signal 11").search(text), text
    late = ray.remote(lambda refs: ray.get(refs[0])).remote([ref])  # a process that never met it
    text = text_of(Exception, late)
    assert where(pid, "was killed by signal 11").search(text), text
