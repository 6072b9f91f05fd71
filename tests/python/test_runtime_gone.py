# SPDX-License-Identifier: Apache-2.0
"""What a program that waits sees when the runtime under it ends, and what one thread does to another's wait."""

import threading
import time

import pytest
import ray
from ray.exceptions import RaySystemError, TaskCancelledError
from support import PATIENCE_S, get, run_program

pytestmark = pytest.mark.ours_only("Ray's driver is ended, or waits on, when its raylet dies")

WAITING_PROGRAM = """
import asyncio, os, pathlib, signal, threading, time
import ray
from support import descendants

@ray.remote
def forever():
    time.sleep(600)

def end_the_runtime():
    time.sleep(0.5)
    if {how!r} == "shutdown":
        ray.shutdown()
        return
    names = {{pid: pathlib.Path(f"/proc/{{pid}}/comm").read_text().strip() for pid in descendants()}}
    os.kill(next(pid for pid, name in names.items() if name.startswith("ray-mpi-raylet")), signal.SIGKILL)

async def main(ref):
    threading.Thread(target=end_the_runtime).start()
    try:
        await asyncio.wait_for(ref.as_future(), 20)
    except Exception as error:
        print("await", type(error).__name__, error)

ray.init(num_cpus=1, log_to_driver=False)
ref = forever.remote()
future = ref.future()
called = []
ref._on_completed(called.append)
asyncio.run(main(ref))
print("future", type(future.exception(20)).__name__)
time.sleep(0.1)
print("callback", type(called[0]).__name__)
"""


@pytest.mark.parametrize("how, words", [("kill", "raylet or keeper has ended"), ("shutdown", "shutdown() was called")])
def test_all_that_waits_for_an_object_ends_with_the_runtime(tmp_path, how, words):
    result = run_program(tmp_path, WAITING_PROGRAM.format(how=how), timeout=60)
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["await", "RaySystemError"],
        ["future", "RaySystemError"],
        ["callback", "RaySystemError"],
    ], result.stdout + result.stderr
    assert words in lines[0]


@ray.remote
def sleep(seconds):
    time.sleep(seconds)


@ray.remote
def after(first):
    return first


def wait_for_one(ref):
    ray.wait([ref], timeout=PATIENCE_S)


def await_it(ref):
    with pytest.raises(TaskCancelledError):
        ref.future().result(PATIENCE_S)


def get_it(ref):
    with pytest.raises(TaskCancelledError):
        get(ref)


@pytest.mark.parametrize("wait", [get_it, wait_for_one, await_it])
def test_another_threads_cancel_is_seen_at_once(ray_2cpu, wait):
    """Nothing comes from outside then: the thread that waits must be woken by the one that cancels."""
    delays = []
    for i in range(8):
        blocker = sleep.remote(60)
        ref = after.remote(blocker)
        cancelled = [0.0]

        def cancel(ref=ref, cancelled=cancelled, pause=0.2 + 0.03 * i):
            time.sleep(pause)
            cancelled[0] = time.monotonic()
            ray.cancel(ref)

        thread = threading.Thread(target=cancel)
        thread.start()
        wait(ref)
        delays.append(time.monotonic() - cancelled[0])
        thread.join()
        ray.cancel(blocker)
        get_it(blocker)
    assert sorted(delays)[len(delays) // 2] < 0.02, delays


def test_a_second_thread_that_waits_does_not_keep_the_cpu(tmp_path):
    """The main thread of a task gives its CPU to its child also while another thread of it reads the mail."""
    result = run_program(
        tmp_path,
        """
        import threading, time
        import ray

        @ray.remote
        def child():
            return "done"

        @ray.remote
        def never():
            time.sleep(600)

        @ray.remote
        def parent(box):
            def wait():
                try:
                    ray.get(box[0])
                except Exception:
                    pass

            threading.Thread(target=wait, daemon=True).start()
            time.sleep(0.2)
            return ray.get(child.remote())

        ray.init(num_cpus=1, resources={"other": 1}, log_to_driver=False)
        blocked = never.options(num_cpus=0, resources={"other": 1}).remote()
        print(ray.get(parent.remote([blocked]), timeout=20))
        """,
        timeout=60,
    )
    assert result.stdout == "done\n", result.stderr
