# SPDX-License-Identifier: Apache-2.0
"""Programs that put objects, share them, lend references and run out of patience."""


def test_put_once_and_use_often(program):
    out = program("""
        import numpy as np
        import ray

        ray.init(ignore_reinit_error=True)
        ray.init(ignore_reinit_error=True)

        @ray.remote
        def brightness(picture) -> float:
            return float(np.sum(picture))

        if __name__ == "__main__":
            thumbnail = np.ones((20, 30))
            print("small", ray.get(brightness.remote(thumbnail)))
            poster = ray.put(np.ones((1500, 1000)))
            print("large", ray.get([brightness.remote(poster) for _ in range(10)]) == [1500000.0] * 10)
            ray.shutdown()
    """)
    assert "small 600.0" in out and "large True" in out


def test_getting_one_several_and_too_late(program):
    out = program("""
        import time
        import ray
        from ray.exceptions import GetTimeoutError

        assert ray.get(ray.put("one")) == "one"
        assert ray.get([ray.put(i * i) for i in range(4)]) == [0, 1, 4, 9]

        @ray.remote
        def glacier():
            time.sleep(4)

        try:
            ray.get(glacier.remote(), timeout=0.5)
        except GetTimeoutError as error:
            print("gave up", isinstance(error, TimeoutError))
    """)
    assert "gave up True" in out


def test_a_stored_object_does_not_change(program):
    out = program("""
        import ray

        basket = ["apple"]
        ref = ray.put(basket)
        basket.append("pear")
        mine = ray.get(ref)
        mine.append("plum")
        print(ray.get(ref))
    """)
    assert "['apple']" in out


def test_refs_as_arguments_are_opened_only_at_the_top(program):
    out = program("""
        import ray

        @ray.remote
        def show(x, y, z):
            return f"{x} {y} {z}"

        @ray.remote
        def show_inner(refs):
            return all(isinstance(ref, ray.ObjectRef) for ref in refs), ray.get(refs)

        parts = [ray.put(letter) for letter in "abc"]
        print("plain:", ray.get(show.remote("a", "b", "c")))
        print("opened:", ray.get(show.remote(*parts)))
        print("kept:", ray.get(show_inner.remote(parts)))
    """)
    assert "plain: a b c" in out and "opened: a b c" in out and "kept: (True, ['a', 'b', 'c'])" in out


def test_refs_in_a_closure(program):
    out = program("""
        import ray

        first, second = ray.put(20), ray.put(22)

        @ray.remote
        def add_up():
            return sum(ray.get([first, second]))

        print("sum", ray.get(add_up.remote()))
    """)
    assert "sum 42" in out


def test_a_borrower_for_a_while(program):
    out = program("""
        import gc
        import ray

        @ray.remote
        def make():
            return list(range(100))

        @ray.remote
        def borrow(refs):
            return len(ray.get(refs[0]))

        ref = make.remote()
        length = borrow.remote([ref])
        del ref
        gc.collect()
        print("length", ray.get(length))
    """)
    assert "length 100" in out


def test_tasks_print_where_the_program_prints(program):
    out = program("""
        import time
        import ray

        @ray.remote
        def announce(name):
            print("welcome", name)

        ray.get([announce.remote(name) for name in ("Ada", "Grace")])
        time.sleep(2)
    """)
    assert "welcome Ada" in out and "welcome Grace" in out and "pid=" in out


def test_large_and_small_results_meet_one_consumer(program):
    out = program("""
        import ray

        @ray.remote
        def haystack():
            return [1] * (512 * 1024)

        @ray.remote
        def needle():
            return [1]

        @ray.remote
        def weigh(things):
            return len(things)

        hay, pin = haystack.remote(), needle.remote()
        print("hay", ray.get(weigh.remote(hay)), "pin", ray.get(weigh.remote(pin)))
        print("spread", set(ray.get([weigh.options(scheduling_strategy="SPREAD").remote(hay) for _ in range(4)])))
    """)
    assert "hay 524288 pin 1" in out and "spread {524288}" in out
