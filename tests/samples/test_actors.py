# SPDX-License-Identifier: Apache-2.0
"""Programs that keep state in actors and pass their handles around."""


def test_a_turnstile_counts_those_who_pass(program):
    out = program("""
        import ray

        ray.init()

        @ray.remote
        class Turnstile:
            def __init__(self):
                self.passed = 0

            def push(self):
                self.passed += 1

            def read(self):
                return self.passed

        gates = [Turnstile.remote() for _ in range(3)]
        for gate in gates:
            for _ in range(4):
                gate.push.remote()
        print(ray.get([gate.read.remote() for gate in gates]))
    """)
    assert "[4, 4, 4]" in out


def test_tasks_share_one_actor(program):
    out = program("""
        import ray

        @ray.remote
        class Ledger:
            def __init__(self):
                self.lines = []

            def write(self, line):
                self.lines.append(line)
                return len(self.lines)

            def read(self):
                return sorted(self.lines)

        @ray.remote
        def clerk(ledger, number):
            for page in range(2):
                ray.get(ledger.write.remote((number, page)))

        ledger = Ledger.remote()
        ray.get([clerk.remote(ledger, number) for number in range(3)])
        print(ray.get(ledger.read.remote()))
    """)
    assert "[(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]" in out


def test_an_actor_keeps_a_ref_that_its_maker_drops(program):
    out = program("""
        import numpy as np
        import ray

        ray.init()

        @ray.remote
        class Shelf:
            def keep(self, refs):
                self.ref = refs[0]

            def weigh(self):
                return float(ray.get(self.ref).sum())

        shelf = Shelf.remote()
        box = ray.put(np.ones(300_000))
        ray.get(shelf.keep.remote([box]))
        del box
        print(ray.get(shelf.weigh.remote()))
    """)
    assert "300000.0" in out


def test_resources_of_an_actor(program):
    out = program("""
        import ray

        ray.init(num_cpus=4, num_gpus=1, resources={"tape": 2})

        @ray.remote(num_cpus=2, num_gpus=0.5, resources={"tape": 1})
        class Recorder:
            def has(self):
                return ray.get_gpu_ids()

        recorder = Recorder.remote()
        print(ray.get(recorder.has.remote()))
        small = Recorder.options(num_cpus=0, num_gpus=0, resources={"tape": 0.5}).remote()
        print(ray.get(small.has.remote()))
        print({name: ray.available_resources().get(name, 0) for name in ("CPU", "GPU", "tape")})
    """)
    assert "[0]\n[]\n{'CPU': 2.0, 'GPU': 0.5, 'tape': 0.5}" in out


def test_a_dead_actor_and_one_that_comes_back(program):
    out = program("""
        import os
        import ray

        ray.init(namespace="play")

        @ray.remote(max_restarts=1, max_task_retries=1)
        class Phoenix:
            def __init__(self):
                self.age = 0

            def grow(self):
                self.age += 1
                return self.age

            def burn(self, marker):
                if not os.path.exists(marker):
                    open(marker, "w").close()
                    os._exit(1)
                return "ash"

        bird = Phoenix.options(name="bird").remote()
        print(ray.get([bird.grow.remote() for _ in range(3)]))
        same = ray.get_actor("bird", namespace="play")
        print(ray.get(same.burn.remote(os.path.abspath("burnt"))), ray.get(bird.grow.remote()))
        ray.kill(bird)
        try:
            ray.get(bird.grow.remote())
        except ray.exceptions.RayActorError as error:
            print(type(error).__name__)
    """)
    assert "[1, 2, 3]\nash 1\nActorDiedError" in out
