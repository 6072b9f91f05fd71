# SPDX-License-Identifier: Apache-2.0
"""Death on four nodes, each with an actor and a task that write down where and when they work: what was lost goes on
elsewhere within the time that is documented, and never before the node that lost it has stopped. What it held is made
again, with the argument that only it had held."""

import json
import signal
import subprocess
import time

import pytest
from conftest import RAY_MPI

VICTIM = "n2"

# Works until the file "go" is there; every 5 ms each worker adds "when host pid" to a file of its own.
WORK = """
    import json, pathlib, threading
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
    folder = pathlib.Path(__file__).with_suffix(".work")
    folder.mkdir()

    def work(name):
        with open(folder / name, "a", buffering=1) as file:
            while not (folder / "go").exists():
                file.write(f"{time.time()} {os.uname().nodename} {os.getpid()}\\n")
                time.sleep(0.005)

    @ray.remote(num_cpus=0, max_retries=-1)
    def task(name):
        work(name)
        return os.uname().nodename

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class Actor:
        def __init__(self, name):
            threading.Thread(target=work, args=(name,), daemon=True).start()

        def where(self):
            return os.uname().nodename

    @ray.remote(num_cpus=0)
    def make(i):
        return bytes([i]) * 200_000

    @ray.remote(num_cpus=0)
    def twice(part):
        return part + part

    nodes = ray.nodes()
    made = [twice.options(scheduling_strategy=there).remote(make.options(scheduling_strategy=there).remote(i))
            for i, n in enumerate(nodes) for there in [On(n["NodeID"], soft=True)]]
    ray.wait(made, num_returns=len(made), timeout=30, fetch_local=False)
    actors = [Actor.options(scheduling_strategy=On(n["NodeID"], soft=True)).remote(f"actor{i}")
              for i, n in enumerate(nodes)]
    tasks = [task.options(scheduling_strategy=On(n["NodeID"], soft=True)).remote(f"task{i}")
             for i, n in enumerate(nodes)]
    result = {"tasks": ray.get(tasks), "actors": ray.get([a.where.remote() for a in actors]),
              "made": [made == bytes([i]) * 400_000 for i, made in enumerate(ray.get(made, timeout=30))],
              "dead": [n["NodeManagerHostname"] for n in ray.nodes() if not n["Alive"]]}
    (folder / "result").write_text(json.dumps(result))
    sys.exit(7)
"""


class Run:
    """WORK, started one way or the other, with a worker of each kind on each node."""

    def __init__(self, lab, app, way):
        self.lab = lab
        self.file = app(WORK)
        self.folder = self.file.with_suffix(".work")
        if way == "srun":
            self.job = lab.start("srun", "-N4", "--no-kill", "-K0", RAY_MPI, self.file, stdin=subprocess.DEVNULL)
        else:
            script = self.file.with_suffix(".sh")
            script.write_text(f"#!/bin/sh\nexec {RAY_MPI} -n 4 {self.file}\n")
            self.job = lab.start("sbatch", "--wait", "--no-kill", "-N4", "--ntasks-per-node=1", "-o",
                                 self.file.with_suffix(".out"), script, stdin=subprocess.DEVNULL)
        lab.wait_until(lambda: self.folder.is_dir() and len(self.stamps()) == 8, 40, "a task and an actor on each node")

    def stamps(self):
        """Of each worker: all (when, host, pid)."""
        found = {}
        for file in self.folder.glob("[at]*[0-9]"):
            lines = file.read_text().split("\n")[:-1]
            if lines:
                found[file.name] = [(float(t), host, pid) for t, host, pid in (line.split() for line in lines)]
        return found

    def lost(self, at, host=VICTIM):
        """Names of the workers that were on that host then."""
        return [name for name, stamps in self.stamps().items()
                if [h for t, h, _ in stamps if t <= at][-1:] == [host]]

    def resumed(self, names, since, old):
        """When each of them first worked as another process than then."""
        stamps = self.stamps()
        firsts = {name: next((t for t, *who in stamps[name] if t > since and tuple(who) not in old), None)
                  for name in names}
        return firsts if all(firsts.values()) else None

    def on_the_victim(self, names):
        """Their (host, pid) there: each node counts its processes from 1."""
        stamps = self.stamps()
        return {(host, pid) for name in names for _, host, pid in stamps[name] if host == VICTIM}

    def harm(self, harm, within_s):
        """Returns the seconds from the harm to all work resumed."""
        names = self.lost(time.time())
        old = self.on_the_victim(names)
        assert names, self.stamps()
        begin = time.time()
        harm()
        self.lab.wait_until(lambda: self.resumed(names, begin, old), 30, f"the work of {VICTIM} goes on elsewhere")
        took = max(self.resumed(names, begin, old).values()) - begin
        for name in names:  # fencing: the old one had stopped before the new one began
            stamps = self.stamps()[name]
            last = max(t for t, *who in stamps if tuple(who) in old)
            first = min(t for t, *who in stamps if t > begin and tuple(who) not in old)
            assert last < first, f"{name} worked on at {last - begin:.3f} s, and elsewhere from {first - begin:.3f} s"
        print(f"{took:.2f} s from the death to all work resumed ({', '.join(names)})")
        assert took < within_s
        return took

    def end(self):
        (self.folder / "go").touch()
        self.lab.wait_until((self.folder / "result").exists, 30, "the end of the program")
        result = json.loads((self.folder / "result").read_text())
        assert result["made"] == [True] * 4
        return result


def kill(lab, node, *pattern):
    """Whoever matches, at once; `lab on` takes some time before."""
    lab.on(node, "pkill", "-9", *pattern).check_returncode()


@pytest.mark.parametrize("way", ["srun", "mpirun"])
@pytest.mark.parametrize("victims", ["workers", "raylet", "all processes"])
def test_killed_processes_of_a_node(lab, app, way, victims):
    if (way, victims) == ("mpirun", "all processes"):
        pytest.skip("with its daemon mpirun ends the job: it was killed with a node's processes")
    run = Run(lab, app, way)
    pattern = {"workers": ("-x", "ray-mpi-worker"), "raylet": ("-x", "ray-mpi-raylet"),
               "all processes": ("-f", "ray-mpi")}[victims]
    run.harm(lambda: kill(lab, VICTIM, *pattern), 1)  # `pkill` by way of the lab is some of it
    result = run.end()
    lost = [] if victims == "workers" else [VICTIM]
    assert result["dead"] == lost
    if lost:
        assert VICTIM not in result["tasks"] + result["actors"]
    _, errors = run.job.communicate(timeout=30)
    if victims == "all processes":  # to Slurm a killed keeper is a failed task, and nobody is left to tidy up
        assert run.job.returncode == 128 + signal.SIGKILL, errors
        lab.on(VICTIM, "sh", "-c", "rm -rf /tmp/ray-mpi-0-*")
    else:
        assert run.job.returncode == 7, errors


def test_a_node_whose_link_is_cut(lab, app):
    try:
        run = Run(lab, app, "srun")
        run.harm(lambda: lab.cut(VICTIM), 6)
        result = run.end()
        assert result["dead"] == [VICTIM] and VICTIM not in result["tasks"] + result["actors"]
        lab.give_up(VICTIM)  # srun ends only then
        _, errors = run.job.communicate(timeout=30)
        assert run.job.returncode == 7, errors
    finally:
        lab.run("scancel", "--user=root")  # after a failure: srun waits for the lost node
        lab.revive(VICTIM)


@pytest.mark.parametrize("victim, status", [("driver", 128 + signal.SIGKILL), ("head", 1)])
def test_the_end_of_all(lab, app, victim, status):
    """The driver's is the job's, with its status; so is the head's, on every node within seconds."""
    run = Run(lab, app, "srun")
    begin = time.monotonic()
    if victim == "driver":
        kill(lab, "n0", "-f", f"^[^ ]*bin/python[^ ]* .*{run.file.name}")
    else:
        kill(lab, "n0", "-x", "ray-mpi-raylet")
    _, errors = run.job.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert run.job.returncode == status, errors
