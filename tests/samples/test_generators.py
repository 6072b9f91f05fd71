# SPDX-License-Identifier: Apache-2.0
"""Programs whose tasks give many results, one after the other."""


def test_a_large_result_in_parts(program):
    out = program("""
        import numpy as np
        import ray

        ray.init()

        @ray.remote
        def slabs(total, rows):
            for first in range(0, total, rows):
                yield np.full((rows, 1000), float(first))

        @ray.remote
        def mass(slab):
            return slab.sum()

        @ray.remote
        def masses(parts):
            return [float(ray.get(part).sum()) for part in parts]

        print(sum(ray.get([mass.remote(ref) for ref in slabs.remote(400, 100)])))
        known = slabs.options(num_returns=4).remote(400, 100)
        print(len(known), ray.get(known[3])[0, 0])
        unknown = slabs.options(num_returns="dynamic").remote(400, 100)
        print(ray.get(masses.remote(unknown)))
    """)
    assert "60000000.0\n4 300.0\n[0.0, 10000000.0, 20000000.0, 30000000.0]" in out


def test_results_of_several_generators_as_they_come(program):
    out = program("""
        import time
        import ray

        ray.init(num_cpus=3)

        @ray.remote
        def ticks(name, pause, n):
            for i in range(n):
                time.sleep(pause)
                yield name, i

        @ray.remote
        def single():
            return "single", 0

        open_ones = [ticks.remote("fast", 0.05, 4), ticks.remote("slow", 0.4, 2), single.remote()]
        seen = []
        while open_ones:
            ready, open_ones = ray.wait(open_ones)
            for what in ready:
                if isinstance(what, ray.ObjectRef):
                    seen.append(ray.get(what))
                    continue
                try:
                    seen.append(ray.get(next(what)))
                except StopIteration:
                    continue
                open_ones.append(what)
        print(sorted(seen))
        print(seen.index(("fast", 3)) < seen.index(("slow", 1)))
    """)
    assert "[('fast', 0), ('fast', 1), ('fast', 2), ('fast', 3), ('single', 0), ('slow', 0), ('slow', 1)]" in out
    assert "True" in out


def test_an_async_actor_streams_to_an_async_program(program):
    out = program("""
        import asyncio
        import ray

        ray.init()

        @ray.remote
        class Feed:
            async def words(self, text):
                for word in text.split():
                    await asyncio.sleep(0.01)
                    if word == "STOP":
                        raise RuntimeError("told to stop")
                    yield word

        async def main():
            feed = Feed.remote()
            async def read(text):
                words = []
                async for ref in feed.words.remote(text):
                    try:
                        words.append(await ref)
                    except RuntimeError:
                        words.append("...")
                return words
            print(await asyncio.gather(read("one two three"), read("four five STOP six")))

        asyncio.run(main())
    """)
    assert "[['one', 'two', 'three'], ['four', 'five', '...']]" in out
