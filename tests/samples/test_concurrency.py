# SPDX-License-Identifier: Apache-2.0
"""Programs with actors that do several things at once: in threads, in an event loop, in groups with a bound each."""

STATION = """
    import asyncio, threading
    import ray

    @ray.remote(concurrency_groups={"radio": 2, "sums": 3})
    class Station:
        def __init__(self):
            self.busy, self.most = {}, {}

        async def work(self, kind):
            self.busy[kind] = self.busy.get(kind, 0) + 1
            self.most[kind] = max(self.most.get(kind, 0), self.busy[kind])
            await asyncio.sleep(0.05)
            self.busy[kind] -= 1
            return threading.get_ident()

        @ray.method(concurrency_group="radio")
        async def send(self):
            return await self.work("send")

        @ray.method(concurrency_group="sums")
        async def average(self):
            return await self.work("average")

        async def peaks(self):
            return sorted(self.most.items())

    station = Station.remote()
"""

DESK = """
    import threading
    import ray

    @ray.remote(concurrency_groups={"radio": 1})
    class Desk:
        def __init__(self):
            self.answered = threading.Event()

        def wait(self):
            return self.answered.wait(20)

        @ray.method(concurrency_group="radio")
        def answer(self):
            self.answered.set()

        def name(self):
            return "desk"
"""


def test_groups_have_bounds_and_loops_of_their_own(program):
    out = program(
        STATION
        + """
    sent = ray.get([station.send.remote() for _ in range(6)])
    averages = ray.get([station.average.remote() for _ in range(9)])
    print(ray.get(station.peaks.remote()), len({*sent}), len({*averages}), len({*sent, *averages}))
    """
    )
    assert "[('average', 3), ('send', 2)] 1 1 2" in out


def test_the_group_is_chosen_at_the_call(program):
    out = program(
        STATION
        + """
    home, sums = ray.get([station.send.options().remote(), station.average.remote()])
    print(ray.get(station.send.options(concurrency_group="sums").remote()) == sums, home == sums)
    """
    )
    assert "True False" in out


def test_the_methods_of_no_group_have_the_bound_of_the_actor(program):
    out = program(
        DESK
        + """
    desk = Desk.options(max_concurrency=10).remote()
    waiting = [desk.wait.remote() for _ in range(9)]
    print(ray.get(desk.name.remote()))
    ray.get(desk.answer.remote())
    print(ray.get(waiting).count(True))
    """
    )
    assert "desk\n9" in out


def test_a_stuck_actor_answers_in_another_group(program):
    out = program(
        DESK
        + """
    desk = Desk.remote()
    waiting = desk.wait.remote()
    ray.get(desk.answer.remote())
    print("answered", ray.get(waiting))
    """
    )
    assert "answered True" in out


def test_an_async_actor_goes_on_while_an_argument_is_late(program):
    out = program("""
        import time
        import ray

        @ray.remote
        class Log:
            def __init__(self):
                self.lines = []

            async def write(self, line):
                self.lines.append(line)
                return list(self.lines)

        @ray.remote
        def late(line):
            time.sleep(1)
            return line

        log = Log.remote()
        first, second = log.write.remote(late.remote("storm")), log.write.remote("calm")
        print(ray.get(second), ray.get(first))
    """)
    assert "['calm'] ['calm', 'storm']" in out
