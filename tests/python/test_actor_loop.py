# SPDX-License-Identifier: Apache-2.0
"""What user code may do with the event loop of an async actor: all that asyncio offers, beside calls that come and go."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import ray
from support import PATIENCE_S, eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def later(seconds, value):
    time.sleep(seconds)
    return value


@ray.remote
class Loop:
    def __init__(self):
        self.ticks = 0
        self.ticker = asyncio.get_running_loop().create_task(self._tick())
        self.flag = False

    async def _tick(self):
        while True:
            self.ticks += 1
            await asyncio.sleep(0.01)

    async def ticks_so_far(self):
        return self.ticks

    async def echo(self, words):
        """Server and client of a socket in one loop."""

        async def answer(reader, writer):
            while line := await reader.readline():
                writer.write(line.upper())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1")
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            answers = []
            for word in words:
                writer.write(word.encode() + b"\n")
                answers.append((await reader.readline()).decode().strip())
            writer.close()
            return answers

    async def run_program(self, *command):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        return out.decode(), process.returncode

    async def in_threads(self, count):
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        naps = [loop.run_in_executor(None, time.sleep, 0.05) for _ in range(count)]
        threading.Timer(0.1, lambda: loop.call_soon_threadsafe(told.set)).start()
        await asyncio.gather(*naps, told.wait())
        return True

    async def by_signal(self):
        loop, got = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        await got.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        return True

    async def signals_to_itself(self, count):
        """Each comes while the loop is busy, and is handled when it waits."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            told = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR2, told.set)
            os.kill(os.getpid(), signal.SIGUSR2)
            await asyncio.wait_for(told.wait(), 10)
        return count

    async def spin_until_raised(self):
        while not self.flag:
            await asyncio.sleep(0)

    async def raise_flag(self):
        self.flag = True

    async def nap(self, seconds):
        began = time.monotonic()
        await asyncio.sleep(seconds)
        return time.monotonic() - began

    async def gather(self, refs):
        return await asyncio.gather(*refs)

    async def block(self, ref):
        return ray.get(ref[0])

    async def open_pipe(self):
        """A descriptor that the loop watches from now on, in vain."""
        self.pipe = os.pipe()
        asyncio.get_running_loop().add_reader(self.pipe[0], lambda: None)
        self.ticker.cancel()

    async def cpu_s(self):
        return time.process_time()


def test_a_constructor_starts_what_runs_between_the_calls():
    actor = Loop.remote()
    first = get(actor.ticks_so_far.remote())
    time.sleep(0.3)
    assert get(actor.ticks_so_far.remote()) > first + 5


def test_sockets_and_calls_share_the_loop():
    actor = Loop.remote()
    words = [f"word{i}" for i in range(200)]
    talks = [actor.echo.remote(words) for _ in range(3)]
    naps = [actor.nap.remote(0.01) for _ in range(50)]
    assert get(talks) == [[word.upper() for word in words]] * 3
    assert all(0.01 <= nap < PATIENCE_S for nap in get(naps))


def test_programs_threads_and_signals():
    actor = Loop.remote()
    program = actor.run_program.remote(sys.executable, "-c", "print('out'); raise SystemExit(3)")
    assert get([actor.in_threads.remote(4), actor.by_signal.remote()]) == [True, True]
    assert get(program) == ("out\n", 3)


def test_no_signal_is_lost_between_two_waits():
    assert get(Loop.remote().signals_to_itself.remote(20)) == 20


def test_the_last_word_of_an_actor_may_wait_for_its_loop(tmp_path):
    @ray.remote
    class Saver:
        def __init__(self, path):
            self.path, self.loop = path, asyncio.get_running_loop()

        async def save(self):
            await asyncio.sleep(0.01)
            value = await later.remote(0.01, "saved")
            with open(self.path, "w") as file:
                file.write(value)

        async def ready(self):
            return True

        def __ray_shutdown__(self):
            asyncio.run_coroutine_threadsafe(self.save(), self.loop).result(20)

    path = tmp_path / "state"
    actor = Saver.remote(str(path))
    get(actor.ready.remote())
    del actor
    assert eventually(lambda: path.exists() and path.read_text() == "saved")


def test_a_loop_that_never_rests_takes_calls():
    actor = Loop.remote()
    spinning = actor.spin_until_raised.remote()
    get(actor.raise_flag.remote())
    assert get(spinning) is None


def test_many_refs_become_ready_while_it_waits():
    actor = Loop.remote()
    refs = [later.remote(0.01, i) for i in range(50)]
    assert get(actor.gather.remote(refs)) == list(range(50))
    assert get(actor.gather.remote([ray.put(i) for i in range(50)])) == list(range(50))


def test_a_call_that_blocks_the_loop_is_served():
    actor = Loop.remote()
    assert get(actor.block.remote([later.remote(0.2, "late")])) == "late"
    assert get(actor.nap.remote(0)) < PATIENCE_S


def test_a_watched_descriptor_costs_nothing_while_nothing_comes():
    actor = Loop.remote()
    get(actor.open_pipe.remote())
    before = get(actor.cpu_s.remote())
    time.sleep(1)
    assert get(actor.cpu_s.remote()) - before < 0.2
