# SPDX-License-Identifier: Apache-2.0
"""Where tasks run on four nodes of a real Slurm, on which cores, and with which environment: seen from outside, by the
host's name, the kernel's mask and the worker's own variables."""

import ast
import os

import pytest

from conftest import RAY_MPI, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")

PROGRAM = """
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import In, NotIn
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy as Labelled
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup

    HOST = "ray-mpi/host"
    ids = {n["NodeManagerHostname"]: n["NodeID"] for n in ray.nodes()}

    def free():  # what was leased before has come back
        while ray.available_resources().get("CPU") != 8 or ray.available_resources().get("GPU") != 8:
            time.sleep(0.01)

    @ray.remote(num_cpus=1)
    def host(seconds=0):
        time.sleep(seconds)
        return os.uname().nodename

    @ray.remote(num_cpus=1)
    def seen(seconds=0.3):
        time.sleep(seconds)
        return (os.uname().nodename, sorted(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS"),
                os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_gpu_ids())

    @ray.remote(num_cpus=2)
    class Fills:
        def host(self):
            return os.uname().nodename

    def say(what, value):
        print(repr((what, value)), flush=True)

    def hosts(task, count=1, **options):
        return sorted(ray.get([task.options(**options).remote() for _ in range(count)], timeout=30))

    say("packed", hosts(host))
    say("spread", sorted(ray.get([host.options(scheduling_strategy="SPREAD").remote(0.3) for _ in range(8)])))
    say("hard", [hosts(host, scheduling_strategy=On(ids[n], soft=False))[0] for n in sorted(ids)])
    free()
    full = Fills.options(scheduling_strategy=On(ids["n2"], soft=False)).remote()
    say("full", ray.get(full.host.remote()))
    waiting = [host.options(scheduling_strategy=On(ids["n2"], soft=soft)).remote() for soft in (False, True)]
    say("done, full", ray.wait(waiting, timeout=0.5)[0])
    ray.kill(full)
    say("done, free", ray.get(waiting, timeout=30))
    nobody = ids["n3"][:-8] + "63000000"
    try:
        hosts(host, scheduling_strategy=On(nobody, soft=False))
    except ray.exceptions.TaskUnschedulableError as e:
        say("hard, nobody", "does not exist or is dead" in str(e) or str(e))
    say("soft, nobody", len(hosts(host, scheduling_strategy=On(nobody, soft=True))))

    say("hard label", set(hosts(host, 6, scheduling_strategy=Labelled(hard={HOST: In("n1", "n3")}))) <= {"n1", "n3"})
    free()
    say("soft label", hosts(host, scheduling_strategy=Labelled(hard={HOST: NotIn("n0")}, soft={HOST: In("n3")})))
    say("no such soft label", hosts(host, scheduling_strategy=Labelled(hard={HOST: In("n2")}, soft={HOST: In("n9")})))
    say("selector", hosts(host, label_selector={HOST: "n1"}))
    say("not", "n1" not in hosts(host, 6, label_selector={HOST: "!n1"}))
    say("one of", set(hosts(host, 6, label_selector={HOST: "in(n2, n3)"})) <= {"n2", "n3"})
    say("fallback", hosts(host, label_selector={HOST: "n9"}, fallback_strategy=[{"label_selector": {HOST: "n2"}}]))
    free()

    on = On(ids["n1"], soft=False)
    say("one core each", ray.get([seen.options(scheduling_strategy=on).remote() for _ in range(2)]))
    say("two cores", ray.get(seen.options(scheduling_strategy=on, num_cpus=2).remote()))
    say("half a core", ray.get(seen.options(scheduling_strategy=on, num_cpus=0.5).remote()))
    free()
    say("one gpu each", ray.get([seen.options(scheduling_strategy=on, num_gpus=1).remote() for _ in range(2)]))
    say("two gpus", ray.get(seen.options(scheduling_strategy=on, num_gpus=2).remote()))
    say("half a gpu each", ray.get([seen.options(scheduling_strategy=on, num_gpus=0.5).remote() for _ in range(2)]))
    free()

    @ray.remote(num_cpus=1)
    def family():
        return os.uname().nodename, sorted(os.sched_getaffinity(0)), ray.get(host.remote())

    for strategy, bundles in (("STRICT_PACK", 2), ("STRICT_SPREAD", 4)):
        group = placement_group([{"CPU": 1, "GPU": 1}] * bundles, strategy=strategy)
        assert group.wait(30)
        inside = [InGroup(group, i) for i in range(bundles)]
        say(strategy, ray.get([seen.options(scheduling_strategy=s, num_gpus=1).remote() for s in inside]))
        remove_placement_group(group)
        free()
    group = placement_group([{"CPU": 2}, {"CPU": 2}], strategy="STRICT_SPREAD")
    assert group.wait(30)
    capture = [InGroup(group, i, placement_group_capture_child_tasks=True) for i in range(2)]
    say("children", ray.get([family.options(scheduling_strategy=s).remote() for s in capture]))
    for strategy, bundles in (("STRICT_PACK", 3), ("STRICT_SPREAD", 5)):
        say("never", placement_group([{"CPU": 1}] * bundles, strategy=strategy).wait(0.3))
"""


@pytest.fixture(scope="module")
def cores():
    mask = sorted(os.sched_getaffinity(0))
    if len(mask) < 2:
        pytest.skip("a worker is bound only where a node has as many cores as CPUs for tasks, and these need two")
    return mask


def test_where_tasks_run_and_what_they_see(lab, app, cores):
    done = srun(lab, "--num-gpus", "2", app(PROGRAM), options=("-N4", "-c2"), timeout_s=120)
    assert done.returncode == 0, done.stderr
    said = {}
    for line in done.stdout.splitlines():
        what, value = ast.literal_eval(line)
        said.setdefault(what, []).append(value)
    assert said["packed"] == [["n0"]], "the driver's node, while less than half of it is used"
    assert said["spread"] == [["n0", "n0", "n1", "n1", "n2", "n2", "n3", "n3"]]
    assert said["hard"] == [["n0", "n1", "n2", "n3"]]
    assert said["full"] == ["n2"]
    assert said["done, full"] == [[]], "also with soft=True, as in Ray: that node can run it"
    assert said["done, free"] == [["n2", "n2"]]
    assert said["hard, nobody"] == [True] and said["soft, nobody"] == [1]
    assert said["hard label"] == [True] and said["soft label"] == [["n3"]]
    assert said["no such soft label"] == [["n2"]]
    assert said["selector"] == [["n1"]] and said["not"] == [True] and said["one of"] == [True]
    assert said["fallback"] == [["n2"]]

    def columns(what):
        return [list(column) for column in zip(*said[what][0], strict=True)]

    where, masks, threads, *_ = columns("one core each")
    assert where == ["n1", "n1"] and threads == ["1", "1"]
    assert sorted(map(len, masks)) == [1, 1] and masks[0] != masks[1], "each on a core of its own"
    assert said["two cores"][0][:3] == ("n1", cores[:2], "2")
    assert said["half a core"][0][1] == cores, "not bound"
    *_, visible, gpus = columns("one gpu each")
    assert sorted(visible) == ["0", "1"] and sorted(gpus) == [[0], [1]]
    assert said["two gpus"][0][3:] == ("0,1", [0, 1])
    *_, visible, gpus = columns("half a gpu each")
    assert visible[0] == visible[1] and gpus[0] == gpus[1] and len(gpus[0]) == 1, "both on one"

    where, masks, _, visible, _ = columns("STRICT_PACK")
    assert len(set(where)) == 1 and masks[0] != masks[1] and sorted(visible) == ["0", "1"]
    where, masks, *_ = columns("STRICT_SPREAD")
    assert sorted(where) == ["n0", "n1", "n2", "n3"] and all(len(mask) == 1 for mask in masks)
    children = said["children"][0]
    assert all(child == parent for parent, _, child in children) and len({p for p, *_ in children}) == 2
    assert said["never"] == [False, False]
