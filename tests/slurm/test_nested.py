# SPDX-License-Identifier: Apache-2.0
"""Tasks that start MPI programs of their own in a job: with mpirun, srun, and mpi4py."""

import os
import subprocess

import pytest

from conftest import HERE, RAY_MPI, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
# Each node has four CPUs for Slurm; the machine may have fewer. One task per node at a time.
OFFER = ("--num-cpus", "4", "--resources", '{"slot": 1}')

START = """
    def run(*command):
        done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=50)
        return done.returncode, sorted(done.stdout.split("\\n")[:-1]), done.stderr

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def task(*command):
        node = os.uname().nodename
        return node, *run(*(str(word).replace("NODE", node) for word in command))

    def show(results):
        for node, status, lines, errors in sorted(results):
            print(node, status, lines)
            sys.stderr.write(errors)
"""

# Where each rank runs. One write, so that the lines of two ranks do not mix.
WHERE = ("from mpi4py import MPI; import os; c = MPI.COMM_WORLD; "
         "os.write(1, f'{os.uname().nodename} {c.rank} {c.size}\\n'.encode())")


@pytest.fixture(scope="module")
def hello(lab):
    program = lab.shared / "hello_of_tasks"
    subprocess.run(["mpicc", "-o", program, HERE / "mpi_hello.c"], check=True)
    return program


def run_app(lab, file, *options):
    done = srun(lab, *OFFER, file, options=options, env={**os.environ, **AS_ROOT}, timeout_s=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("nodes", [1, 4])
def test_mpirun_takes_the_tasks_node(lab, app, nodes):
    file = app(START + f"""
    where = [task.remote("mpirun", "-n", 2, sys.executable, "-c", {WHERE!r}) for _ in range(2 * {nodes})]
    show(ray.get(where))
    """)
    lines = set(run_app(lab, file, f"-N{nodes}", "-c4"))
    names = [line.split()[0] for line in lines]
    assert lines == {f"{node} 0 ['{node} 0 2', '{node} 1 2']" for node in names}
    assert nodes == 1 or len(names) > 1  # the tasks of four nodes ran at the same time


def test_mpirun_on_named_nodes(lab, app):
    file = app(START + f"""
    command = ["mpirun", "--host", "n0:2,n2:1", sys.executable, "-c", {WHERE!r}]
    show(ray.get([task.remote(*command) for _ in range(4)]))
    """)
    lines = run_app(lab, file, "-N4", "-c4")
    # Wherever the task is: on one of these nodes, which then comes first, or on another.
    for line in lines:
        status, places = line.split(" ", 2)[1:]
        assert (status, places.count("'n0 "), places.count("'n2 "), places.count("'n")) == ("0", 2, 1, 3), line
    assert len({line.split()[0] for line in lines}) > 1


def test_mpirun_with_more_ranks_than_the_node_has_cpus(lab, app):
    file = app(START + f"""
    show(ray.get([task.remote("mpirun", "-n", count, sys.executable, "-c", {WHERE!r}) for count in (3, 5)]))
    """)
    refused, ran = sorted(run_app(lab, file, "-N2", "-w", "n0,n1", "-c2"), key=len)
    node, other = ran.split()[0], {"n0": "n1", "n1": "n0"}[ran.split()[0]]
    assert refused.split(" ", 1)[1] == "1 []"
    assert ran == f"{node} 0 {sorted([f'{node} 0 3', f'{node} 1 3', f'{other} 2 3'])}"


def test_srun_while_our_step_holds_all_cpus(lab, app, hello):
    file = app(START + f"""
    job, step = os.environ["SLURM_JOB_ID"], os.environ["RAY_MPI_ORIG_SLURM_STEP_ID"]
    _, status, ids, _ = ray.get(task.remote("srun", "-N1", "-n1", "sh", "-c", "echo $SLURM_JOB_ID; echo $SLURM_STEP_ID"))
    print(status, ids[-1] == job or ids[0] == job, step in ids)
    show(ray.get([task.remote("srun", "-N1", "-n2", "-w", "NODE", "hostname") for _ in range(8)]))
    show(ray.get([task.remote("srun", "-N2", "-n4", "--mpi=pmix", "{hello}")]))
    show(ray.get([task.remote("srun", "-N1", "-n1", "sh", "-c", "exit 7")]))
    """)
    first, *lines, spread, failed = run_app(lab, file, "-N2", "--exclusive", "-c4", "--ntasks-per-node=1")
    assert first == "0 True False"
    assert len(lines) == 8 and set(lines) <= {f"{n} 0 ['{n}', '{n}']" for n in ("n0", "n1", "n2", "n3")}
    assert spread.endswith(" 0 ['met 4 of 4']")
    assert failed.endswith(" 7 []")


def test_srun_says_nothing_of_its_own(lab, app):
    """No warning about numbers of our own step."""
    file = app(START + """
    print(ray.get(task.remote("srun", "-N1", "-n2", "-w", "NODE", "true"))[3] == "")
    """)
    assert run_app(lab, file, "-N2", "-c4", "--ntasks-per-node=1") == ["True"]


def test_mpi4py_in_a_worker(lab, app, hello):
    file = app(START + """
    @ray.remote(num_cpus=1)
    def init(i):
        from mpi4py import MPI
        return MPI.COMM_WORLD.size, MPI.COMM_WORLD.allreduce(i)
    print(ray.get([init.remote(i) for i in range(8)]) == [(1, i) for i in range(8)])
    """ + f"""
    print(ray.get(task.remote("{hello}"))[1:3])
    """)
    assert run_app(lab, file, "-N4", "-c4") == ["True", "(0, ['met 1 of 1'])"]


@pytest.mark.parametrize("program", ["mpirun", "srun"])
def test_the_end_of_the_run_ends_what_tasks_started(lab, app, program):
    """In a batch job, where Slurm itself ends nothing before the script does."""
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    commands = {"mpirun": '["mpirun", "--host", "n0:1,n1:1"]', "srun": '["srun", "-N2", "-n2"]'}
    file = app(START + f"""
    met = __file__ + ".met"
    ref = task.remote(*{commands[program]}, sys.executable, "-c", {code!r}, met)
    while not os.path.exists(met):
        time.sleep(0.02)
    time.sleep(0.5)  # so that both ranks are up
    """)
    script = f"""#!/bin/sh
        srun -N2 -n2 {RAY_MPI} --num-cpus 4 --resources '{{"slot": 1}}' {file}
        echo ended with $?
        srun -N2 -n2 --overlap sh -c '! pgrep -f "[t]ime.sleep.600" && ! pgrep -x "orted|mpirun"' && echo none left
        steps() {{ squeue -h -s -j $SLURM_JOB_ID -o %i | grep -vE 'batch|extern'; }}
        for i in $(seq 50); do steps > /dev/null && sleep 0.2; done  # the one above takes a moment to go
        steps && echo another step || echo no other step
    """
    status, _, output = lab.batch(script, "-N2", "-w", "n0,n1", "-c4", "--ntasks-per-node=1",
                                  f"--export=ALL,{','.join('='.join(pair) for pair in AS_ROOT.items())}")
    assert status == 0 and "ended with 0" in output and "none left" in output and "no other step" in output, output
