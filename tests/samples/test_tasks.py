# SPDX-License-Identifier: Apache-2.0
"""Programs that call functions remotely and chain, collect or await their results."""


def test_sleeping_tasks_overlap(program):
    out = program("""
        import ray
        import time

        ray.init(num_cpus=4)

        @ray.remote
        def brew(cup):
            time.sleep(1)
            return cup

        ray.get([brew.remote(0) for _ in range(4)])  # four processes are up
        start = time.time()
        cups = []
        for cup in range(4):
            cups.append(brew.remote(cup))
        print(ray.get(cups))
        print("overlapped" if time.time() - start < 3 else "one after the other")
    """)
    assert "[0, 1, 2, 3]" in out and "overlapped" in out


def test_a_typed_function_below_a_main_guard(program):
    out = program("""
        import ray
        from typing import List

        ray.init()

        @ray.remote
        def cube(edge: int) -> int:
            \"\"\"Volume of a cube.\"\"\"
            return edge ** 3

        if __name__ == "__main__":
            pending: List[ray.ObjectRef] = [cube.remote(edge) for edge in range(5)]
            volumes: List[int] = ray.get(pending)
            print(f"volumes: {volumes}")
    """)
    assert "volumes: [0, 1, 8, 27, 64]" in out


def test_a_product_waits_for_both_factors(program):
    out = program("""
        import numpy as np
        import ray

        @ray.remote
        def grid(shape, seed):
            return np.random.default_rng(seed).normal(size=shape)

        @ray.remote
        def product(left, right):
            return np.dot(left, right)

        left, right = grid.remote((300, 200), 1), grid.remote([200, 100], 2)
        result = ray.get(product.remote(left, right))
        expected = np.random.default_rng(1).normal(size=(300, 200)) @ np.random.default_rng(2).normal(size=(200, 100))
        print(result.shape, np.allclose(result, expected))
    """)
    assert "(300, 100) True" in out


def test_a_result_feeds_the_next_call(program):
    out = program("""
        import ray

        @ray.remote
        def load():
            return 10

        @ray.remote
        def refine(value):
            return value + 1

        raw = load.remote()
        assert ray.get(raw) == 10
        fine = refine.remote(raw)
        print("fine", ray.get(fine))
        print("finer", ray.get(refine.remote(refine.remote(fine))))
    """)
    assert "fine 11" in out and "finer 13" in out


def test_the_first_of_two(program):
    out = program("""
        import time
        import ray

        ray.init(num_cpus=2)

        @ray.remote
        def travel(hours):
            time.sleep(hours)
            return hours

        travellers = [travel.remote(1.5), travel.remote(0.1)]
        home, away = ray.wait(travellers, num_returns=1, timeout=None)
        print("home", ray.get(home), "away", len(away))
        print("at last", ray.get(away))
    """)
    assert "home [0.1] away 1" in out and "at last [1.5]" in out


def test_an_unreliable_function_gets_there(program):
    out = program("""
        import os
        import sys
        import ray

        @ray.remote(max_retries=-1)
        def shaky(value, path):
            with open(path, "a") as file:
                file.write(".")
            if os.path.getsize(path) < 3:
                sys.exit(0)
            return value

        print("arrived", ray.get(shaky.remote("parcel", os.path.abspath("attempts"))))
        print("attempts", os.path.getsize("attempts"))
    """)
    assert "arrived parcel" in out and "attempts 3" in out


def test_awaiting_results(program):
    out = program("""
        import asyncio
        import ray

        @ray.remote
        def reply():
            return "pong"

        async def direct():
            print("direct", await reply.remote())
            answers = await asyncio.gather(*[reply.remote() for _ in range(3)])
            print("gathered", answers)

        async def through_a_future():
            future: asyncio.Future = asyncio.wrap_future(reply.remote().future())
            print("wrapped", await future)

        asyncio.run(direct())
        asyncio.run(through_a_future())
    """)
    assert "direct pong" in out and "gathered ['pong', 'pong', 'pong']" in out and "wrapped pong" in out


def test_futures_of_the_standard_library(program):
    out = program("""
        import concurrent.futures
        import ray

        @ray.remote
        def square(x):
            return x * x

        futures = [square.remote(i).future() for i in range(4)]
        total = 0
        for future in concurrent.futures.as_completed(futures):
            assert future.done()
            total += future.result()
        print("total", total)
    """)
    assert "total 14" in out


def test_coroutines_need_a_wrapper(program):
    out = program("""
        import asyncio
        import ray

        async def fetch():
            await asyncio.sleep(0.01)
            return "page"

        try:
            ray.remote(fetch)
        except ValueError as error:
            print("refused:", error)

        @ray.remote
        def wrapper():
            return asyncio.run(fetch())

        print("wrapped:", ray.get(wrapper.remote()))
    """)
    assert "refused:" in out and "wrapped: page" in out


def test_nested_calls_with_errors(program):
    out = program("""
        import ray

        @ray.remote
        def parse(text):
            return int(text)

        @ray.remote
        def total(texts):
            return sum(ray.get([parse.remote(text) for text in texts]))

        print("sum", ray.get(total.remote(["1", "2", "3"])))
        try:
            ray.get(total.remote(["1", "two"]))
        except ValueError as error:
            print("caught", "invalid literal" in str(error))
    """)
    assert "sum 6" in out and "caught True" in out
