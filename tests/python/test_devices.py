# SPDX-License-Identifier: Apache-2.0
"""GPUs (declared ones) as devices: which ones a task gets, how it sees them, when they are free again."""

import os
import time

import pytest
import ray
from support import eventually, get, run_program


@pytest.fixture(scope="module", autouse=True)
def runtime():
    ray.shutdown()
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.endswith("_VISIBLE_DEVICES")}
    ray.init(num_cpus=8, num_gpus=3, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()
    os.environ.update(saved)


def look(seconds=0.0):
    """What a task sees."""
    start = time.time()
    time.sleep(seconds)
    return {
        "ids": ray.get_gpu_ids(),
        "accelerators": ray.get_runtime_context().get_accelerator_ids(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "pid": os.getpid(),
        "span": (start, time.time()),
    }


gpu = ray.remote(num_gpus=1, num_cpus=0.1)(look)


@pytest.fixture(autouse=True)
def all_free():
    """A process of the test before may not have ended yet."""
    assert eventually(lambda: ray.available_resources().get("GPU") == 3)


def test_a_task_sees_the_device_that_it_has():
    seen = get(gpu.remote())
    assert seen["ids"] == [0] and seen["visible"] == "0" and seen["accelerators"]["GPU"] == ["0"]


def test_tasks_at_the_same_time_have_different_devices():
    seen = get([gpu.remote(3) for _ in range(3)])
    assert sorted(s["ids"] for s in seen) == [[0], [1], [2]]
    assert all(s["visible"] == str(s["ids"][0]) for s in seen)


def test_several_devices():
    seen = get(gpu.options(num_gpus=2).remote())
    assert seen["ids"] == [0, 1] and seen["visible"] == "0,1" and seen["accelerators"]["GPU"] == ["0", "1"]


def test_parts_share_a_device_as_long_as_they_fit():
    wants = (0.5, 0.5, 0.6, 0.4, 1)
    seen = get([gpu.options(num_gpus=want).remote(4) for want in wants])
    by_device = {}
    for want, s in zip(wants, seen):
        (device,) = s["ids"]
        by_device[device] = by_device.get(device, 0) + want
    assert sorted(by_device) == [0, 1, 2] and all(abs(sum_ - 1) < 1e-6 for sum_ in by_device.values())


def test_no_device_is_ever_used_twice():
    wants = [(0.2, 0.5, 0.7, 1, 2, 3)[i * 5 % 6] for i in range(18)]
    often = ray.remote(num_cpus=0.1, max_calls=0)(look)
    seen = get([often.options(num_gpus=want).remote(0.03) for want in wants])
    for device in range(3):
        spans = [(*s["span"], min(want, 1)) for want, s in zip(wants, seen) if device in s["ids"]]
        for start, _, _ in spans:
            use = sum(amount for begin, end, amount in spans if begin <= start < end)
            assert use < 1 + 1e-6, f"device {device}: {use}"
    assert eventually(lambda: ray.available_resources().get("GPU") == 3)


def test_without_gpus_nothing_is_assigned():
    get(gpu.remote())
    seen = get(ray.remote(look).remote())
    assert seen["ids"] == [] and seen["visible"] is None and seen["accelerators"]["GPU"] == []


def test_the_driver_has_none():
    assert ray.get_gpu_ids() == [] and not any(ray.get_runtime_context().get_accelerator_ids().values())


def test_a_task_that_waits_keeps_its_devices():
    @ray.remote(num_gpus=3, num_cpus=1)
    def parent():
        child = gpu.remote()
        ready, _ = ray.wait([child], timeout=1)
        plain = ray.get(ray.remote(look).remote())  # its CPU is lent meanwhile
        return len(ready), plain["ids"], [child]

    ready, plain, (child,) = get(parent.remote())
    assert ready == 0 and plain == []
    assert get(child)["ids"] == [0]


def test_processes_of_gpu_tasks_end_with_them():
    @ray.remote(num_gpus=1)
    def once():
        return os.getpid()

    @ray.remote(num_gpus=1, max_calls=0)
    def often():
        return os.getpid()

    assert len({get(once.remote()) for _ in range(4)}) == 4
    assert len({get(often.remote()) for _ in range(4)}) < 4


@pytest.mark.ours_only("Ray changes the variable in a process that may have looked at it already")
def test_a_process_sees_the_same_devices_to_its_end():
    often = ray.remote(num_cpus=0.1, max_calls=0)(look)
    seen = []
    for _ in range(4):
        seen += get([often.options(num_gpus=want).remote(0.05) for want in (0, 0.5, 1, 2, 0, 0.3)])
    by_pid = {}
    for s in seen:
        by_pid.setdefault(s["pid"], set()).add(s["visible"])
    assert all(len(masks) == 1 for masks in by_pid.values()), by_pid


def test_a_process_that_dies_frees_its_device():
    @ray.remote(num_gpus=3, max_retries=0)
    def die():
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        get(die.remote())
    assert get(gpu.options(num_gpus=3).remote())["ids"] == [0, 1, 2]


@pytest.mark.parametrize("options", [{"num_gpus": 1.5}, {"resources": {"NPU": 2.5}}], ids=repr)
def test_one_and_a_half_is_an_error_of_the_call(options):
    function = ray.remote(look).options(**options)
    with pytest.raises(ValueError, match="must.*be whole numbers"):
        function.remote()


def test_memory_is_counted():
    whole = ray.cluster_resources()["memory"]
    task = ray.remote(num_cpus=0.1, memory=int(whole * 0.7))(look)
    first, second = (s["span"] for s in get([task.remote(0.3), task.remote(0.3)]))
    assert first[1] <= second[0] or second[1] <= first[0], "both at once are more than there is"
    assert get(ray.remote(memory=1.5e6)(lambda: ray.get_runtime_context().get_assigned_resources()).remote()) == {
        "CPU": 1.0,
        "memory": 1500000.0,
    }


# ---- masks ------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, ray, time
ray.init(num_cpus=4, num_gpus=2, include_dashboard=False)

@ray.remote(num_gpus=1)
def one():
    time.sleep(2)
    ids = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_gpu_ids(), ids

@ray.remote
def plain():
    return os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_gpu_ids()

print("driver", ray.get_gpu_ids())
print("tasks", sorted(ray.get([one.remote(), one.remote()])))
print("plain", ray.get(plain.remote()))
"""


def output(folder, **env):
    done = run_program(folder, PROGRAM, env=env)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.split(" ")[0] in ("driver", "tasks", "plain")]


def test_ids_are_those_of_the_mask_that_the_node_has(tmp_path):
    assert output(tmp_path, CUDA_VISIBLE_DEVICES="GPU-aa,GPU-bb,7") == [
        "driver []",
        "tasks [('GPU-aa', ['GPU-aa'], ['GPU-aa']), ('GPU-bb', ['GPU-bb'], ['GPU-bb'])]",
        "plain ('GPU-aa,GPU-bb,7', [])",
    ]


def test_the_mask_can_be_left_alone(tmp_path):
    assert output(tmp_path, CUDA_VISIBLE_DEVICES="3,5", RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES="1") == [
        "driver []",
        "tasks [('3,5', ['3'], ['3']), ('3,5', ['5'], ['5'])]",
        "plain ('3,5', [])",
    ]


def test_tasks_without_gpus_can_be_made_blind(tmp_path):
    assert output(tmp_path, RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="1")[2] == "plain ('', [])"


def test_more_than_the_mask_has_is_an_error(tmp_path):
    done = run_program(tmp_path, PROGRAM, env={"CUDA_VISIBLE_DEVICES": "3"})
    assert done.returncode == 1
    assert "ValueError: Attempting to start raylet with 2 GPU, but CUDA_VISIBLE_DEVICES contains ['3']" in done.stderr
