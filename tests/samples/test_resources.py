# SPDX-License-Identifier: Apache-2.0
"""Programs that say what a node has, what a task needs, and where it should go."""


def test_a_node_with_invented_resources(program):
    out = program("""
        import ray

        ray.init(num_cpus=3, num_gpus=4, resources={"telescope": 1, "north": 1})
        have = ray.cluster_resources()
        print({name: have[name] for name in ("CPU", "GPU", "telescope", "north")})

        @ray.remote(num_cpus=2, num_gpus=2, resources={"telescope": 1})
        def observe():
            return ray.get_runtime_context().get_assigned_resources()

        print(sorted(ray.get(observe.remote()).items()))
        print(sorted(ray.get(observe.options(num_cpus=3, num_gpus=1, resources={"telescope": 0}).remote()).items()))

        @ray.remote(resources={"north": 0.001})
        def labelled():
            return "went north"

        print(ray.get([labelled.remote() for _ in range(4)]))
    """)
    assert "{'CPU': 3.0, 'GPU': 4.0, 'telescope': 1.0, 'north': 1.0}" in out
    assert "[('CPU', 2.0), ('GPU', 2.0), ('telescope', 1.0)]" in out
    assert "[('CPU', 3.0), ('GPU', 1.0)]" in out
    assert "['went north', 'went north', 'went north', 'went north']" in out


def test_two_gpu_tasks_see_different_devices(program):
    out = program("""
        import os
        import time
        import ray

        ray.init(num_cpus=4, num_gpus=2)

        @ray.remote(num_gpus=1)
        def render():
            time.sleep(1)
            return os.environ["CUDA_VISIBLE_DEVICES"], ray.get_gpu_ids()

        @ray.remote(num_gpus=0.5)
        def half():
            return os.environ["CUDA_VISIBLE_DEVICES"]

        seen = ray.get([render.remote(), render.remote()])
        print("devices", sorted(device for device, _ in seen))
        print("half", ray.get(half.remote()) in ("0", "1"))
    """)
    assert "devices ['0', '1']" in out and "half True" in out


def test_more_than_there_is_waits_and_less_runs(program):
    out = program("""
        import ray

        ray.init(num_cpus=2)

        @ray.remote(num_cpus=4, num_gpus=2)
        def big():
            return 1

        ready, waiting = ray.wait([big.remote()], timeout=0.5)
        print("waiting", len(waiting))
        print("fits", ray.get(big.options(num_cpus=1, num_gpus=0).remote()))
    """)
    assert "waiting 1" in out and "fits 1" in out


def test_fractions_of_a_cpu(program):
    out = program("""
        import time
        import ray

        ray.init(num_cpus=1)

        @ray.remote(num_cpus=0.25)
        def listen():
            time.sleep(0.5)
            return time.time()

        ray.get([listen.remote() for _ in range(4)])
        start = time.time()
        ray.get([listen.remote() for _ in range(4)])
        print("together" if time.time() - start < 1.6 else "in turn")
    """)
    assert "together" in out


def test_memory_as_a_need(program):
    out = program("""
        import ray

        @ray.remote(memory=200 * 1024 * 1024)
        def heavy():
            return ray.get_runtime_context().get_assigned_resources()["memory"]

        print("memory", int(ray.get(heavy.remote())))
    """)
    assert "memory 209715200" in out


def test_scheduling_strategies(program):
    out = program("""
        import ray

        ray.init(num_cpus=2)

        @ray.remote
        def home():
            return ray.get_runtime_context().get_node_id()

        @ray.remote(scheduling_strategy="SPREAD")
        def anywhere():
            return 1

        here = ray.get_runtime_context().get_node_id()
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        assert ray.get(home.options(scheduling_strategy="DEFAULT").remote()) == here
        assert ray.get(home.options(scheduling_strategy=affinity(node_id=here, soft=False)).remote()) == here
        assert ray.get(home.options(scheduling_strategy=affinity(node_id=ray.get(home.remote()), soft=True)).remote()) == here
        print("spread", sum(ray.get([anywhere.remote() for _ in range(10)])))
    """)
    assert "spread 10" in out


def test_a_namespace_of_ones_own(program):
    out = program("""
        import ray

        ray.init(namespace="observatory")
        print("namespace", ray.get_runtime_context().namespace)
    """)
    assert "namespace observatory" in out


def test_threads_of_numeric_libraries_follow_the_request(program):
    out = program("""
        import os
        os.environ.pop("OMP_NUM_THREADS", None)
        import ray

        ray.init(num_cpus=2)

        @ray.remote
        def threads():
            return os.environ["OMP_NUM_THREADS"]

        print("threads", ray.get([threads.remote(), threads.options(num_cpus=2).remote()]))
    """)
    assert "threads ['1', '2']" in out
