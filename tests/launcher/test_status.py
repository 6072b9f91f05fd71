# SPDX-License-Identifier: Apache-2.0
"""`ray-mpi status`: what people and scripts see of a run that works, from any of its nodes."""

import json
import os
import re
import signal
import threading

from conftest import SOON_S, wait_until
from test_mpirun import raylets_of

HOLD = """
import os, sys, time
import ray
from ray.util import placement_group
ray.init()

@ray.remote(num_cpus=1)
class Holder:
    def bound(self):
        return sorted(os.sched_getaffinity(0)), os.getpid()

@ray.remote
def never():
    pass

holder = Holder.remote()
cpus, pid = ray.get(holder.bound.remote())
waiting = [never.options(num_cpus=2).remote() for _ in range(3)] + [never.options(resources={"lamp": 1}).remote()]
group = placement_group([{"CPU": 1}], name="small")
big = placement_group([{"CPU": 64}], name="big")
group.wait(10)
kept = ray.put(b"x" * 1_000_000)
print(cpus[0] if len(cpus) == 1 else -1, pid, flush=True)
sys.stdin.readline()
"""


def status(ray_mpi, *args, env=None):
    result = ray_mpi("status", *args, env=env)
    assert result.returncode == 0, result.stderr
    return result.stdout


def settled(ray_mpi, *args):
    """The status as JSON, once the head has been told all."""
    found = []

    def complete():
        found[:] = [json.loads(status(ray_mpi, "--json", *args))]
        return len(found[0]["waiting"]) == 2

    assert wait_until(complete, SOON_S), found
    return found[0]


def test_status_of_a_busy_node(ray_mpi):
    app = ray_mpi.start("--num-cpus", "2", "--labels", "zone=a", ray_mpi.write("app.py", HOLD), stdin=-1)
    cpu, pid = map(int, app.stdout.readline().split())
    seen = settled(ray_mpi)
    (node,) = seen["nodes"]
    assert (node["rank"], node["state"], node["labels"]["zone"]) == (0, "alive", "a")
    assert node["resources"]["CPU"] == {"total": 2.0, "used": 2.0}  # the actor's, and the group's
    assert node["in_placement_groups"] == {"total": {"CPU": 1.0}, "used": {"CPU": 0.0}}
    assert 1_000_000 <= node["object_store"]["used_bytes"] < node["object_store"]["total_bytes"]
    (actor,) = [p for p in node["processes"] if p["kind"] == "actor"]
    assert (actor["pid"], actor["resources"], actor["language"]) == (pid, {"CPU": 1.0}, "Python")
    assert actor["cpus"] == ([cpu] if cpu >= 0 else [])  # as the kernel has it
    assert [p["job"] for p in node["processes"] if p["kind"] == "driver"] == [1]
    waiting = {json.dumps(w["resources"]): w for w in seen["waiting"]}
    # Whoever submits says its number again when it has doubled.
    assert waiting['{"CPU": 2.0}']["count"] in (2, 3) and not waiting['{"CPU": 2.0}']["infeasible"]
    lamp = waiting['{"CPU": 1.0, "lamp": 1.0}']
    assert lamp["infeasible"] and "no node can ever run a task that asks for {CPU: 1, lamp: 1}" in lamp["reason"]
    groups = {g["name"]: g for g in seen["placement_groups"]}
    assert (groups["small"]["state"], groups["small"]["bundles"][0]["node_id"]) == ("CREATED", node["node_id"])
    assert (groups["big"]["state"], groups["big"]["infeasible"]) == ("PENDING", True)

    lines = [line.split("\t") for line in status(ray_mpi).splitlines()]
    assert re.fullmatch(r"run [0-9a-f]{16}: 1 nodes alive", lines[0][0])
    assert [line[4:6] for line in lines if line[0] == "node"] == [["alive", "2/2"]]
    assert [line[4] for line in lines if line[0] == "process" and line[3] == str(pid)] == ["actor"]
    assert "zone=a" in status(ray_mpi, "-v") and "zone=a" not in status(ray_mpi)
    app.communicate("\n", timeout=SOON_S)


def test_every_rank_answers_alike_and_a_dead_one_is_not_waited_for(ray_mpi, mpirun):
    script = ray_mpi.write(
        "app.py",
        """
import sys
import ray
ray.init()
print("up", flush=True)
sys.stdin.readline()
""",
    )
    app = ray_mpi.start("-n", "3", "--num-cpus", "2", script, stdin=-1)
    assert app.stdout.readline() == "up\n"
    answers, keepers = [], {}
    for run in ray_mpi.run_dirs.glob("*/session.json"):
        session = json.loads(run.read_text())
        keepers[session["rank"]] = session["keeper_pid"]
        seen = json.loads(status(ray_mpi, "--json", "--session", str(run.parent)))
        answers.append([(n["rank"], n["node_id"], n["state"]) for n in seen["nodes"]])
    assert len(answers) == 3 and answers[0] == answers[1] == answers[2]
    assert [(rank, state) for rank, _, state in answers[0]] == [(0, "alive"), (1, "alive"), (2, "alive")]
    # Many at once are one round of questions.
    threads = [threading.Thread(target=lambda: answers.append(status(ray_mpi, "--json"))) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(answers) == 11
    os.kill(raylets_of(ray_mpi)[keepers[1]], signal.SIGSTOP)
    seen = json.loads(status(ray_mpi, "--json"))
    assert [n["state"] for n in seen["nodes"]] in (["alive", "silent", "alive"], ["alive", "dead", "alive"])
    app.communicate("\n", timeout=4 * SOON_S)


def test_what_cannot_be_asked(ray_mpi, tmp_path):
    nobody = ray_mpi("status")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr == (
        "ray-mpi: status: no run of yours is up on this node; --session DIR names one by its run directory\n"
    )
    gone = ray_mpi("status", "--session", tmp_path)
    assert gone.returncode == 1 and f"no ray-mpi runtime at {tmp_path}" in gone.stderr
    for wrong in (["--what"], ["extra"], ["--session"]):
        result = ray_mpi("status", *wrong)
        assert result.returncode == 2 and "ray-mpi status [--session DIR] [--json] [-v]" in result.stderr


def test_the_run_around_a_task_is_asked(ray_mpi):
    """Two runs are up; a program asks for its own."""
    other = ray_mpi.start(
        ray_mpi.write("other.py", "import ray, sys\nray.init()\nprint('up', flush=True)\nsys.stdin.readline()\n"),
        stdin=-1,
    )
    assert other.stdout.readline() == "up\n"
    script = ray_mpi.write(
        "app.py",
        f"""
import json, os, subprocess
import ray
ray.init(num_cpus=1)
@ray.remote
def ask():
    out = subprocess.run([{ray_mpi.executable!r}, "status", "--json"], capture_output=True, text=True, check=True)
    return [p["pid"] for p in json.loads(out.stdout)["nodes"][0]["processes"]], os.getpid()
pids, mine = ray.get(ask.remote())
print(mine in pids and os.getpid() in pids)
""",
    )
    result = ray_mpi(script)
    assert result.stdout == "True\n", result.stderr
    other.communicate("\n", timeout=SOON_S)
