# SPDX-License-Identifier: Apache-2.0
"""The command lines of docs/slurm.md, each run as the page has it."""

import os
import re
import subprocess

import pytest

from conftest import HERE, RAY_MPI, ROOT

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")

PAGE = (ROOT / "docs/slurm.md").read_text()
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def launch_lines():
    """Every line or quoted command that runs app.py. The lab's nodes have 4 CPUs, not 32."""
    found = re.findall(r"(?:^    |`)((?:srun [^`\n]*|mpirun [^`\n]*)?ray-mpi (?:-n \d+ )?app\.py)", PAGE, re.MULTILINE)
    return sorted({line.replace("-c 32", "-c 4") for line in found})


def commands_in_tasks():
    """The first column of the table "in a task"."""
    table = PAGE.partition("| in a task | runs |\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)


def name_of(line):
    """For a test and its files."""
    return re.sub(r"\W+", "-", line)


def batch(lab, script):
    path = f"{os.path.dirname(RAY_MPI)}:{os.environ['PATH']}"
    variables = ",".join(f"{name}={value}" for name, value in {**AS_ROOT, "PATH": path}.items())
    status, _, output = lab.batch("#!/bin/bash\n" + script, "-N2", "-w", "n0,n1", "--exclusive", "-c4", "--ntasks-per-node=1",
                                  "--chdir", lab.shared, f"--export=ALL,{variables}")
    return status, output


def test_the_page_has_them():
    assert len(launch_lines()) == 7 and len(commands_in_tasks()) == 6


@pytest.mark.parametrize("line", launch_lines(), ids=name_of)
def test_launch_line(lab, app, line):
    file = app("print('answer', ray.get(ray.remote(lambda x: x + 1).remote(1)), flush=True)\nsys.exit(3)")
    status, output = batch(lab, line.replace("app.py", str(file)))
    assert status == 3 and output.count("answer 2") == 1, output


@pytest.fixture(scope="module")
def solver(lab):
    """What tasks run on this page, with any arguments."""
    subprocess.run(["mpicc", "-o", lab.shared / "solver", HERE / "mpi_hello.c"], check=True)


@pytest.mark.parametrize("command", commands_in_tasks(), ids=name_of)
def test_command_in_a_task(lab, app, solver, command):
    (lab.shared / "script.py").write_text("from mpi4py import MPI; n = MPI.COMM_WORLD.allreduce(1)\n"
                                          "if MPI.COMM_WORLD.rank == 0: print('met', n, 'of', MPI.COMM_WORLD.size)\n")
    file = app(f"""
    @ray.remote(num_cpus=1)
    def task(command):
        if command.startswith("from "):
            names = {{}}
            exec(command, names)
            return names["MPI"].COMM_WORLD.size
        done = subprocess.run(command, shell=True, text=True, capture_output=True, timeout=50)
        return done.returncode, done.stdout, done.stderr
    print(ray.get(task.remote({command!r})))
    """)
    status, output = batch(lab, f"srun --mpi=pmix --cpu-bind=none ray-mpi --num-cpus 4 {file}")
    ranks = 2 if "mpi4py script" in command else 4
    expected = "1\n" if command.startswith("from ") else f"(0, 'met {ranks} of {ranks}"
    assert status == 0 and expected in output, output


def test_python_of_the_page(lab, app, solver):
    simulate, cleanly = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    file = app(f"{simulate}\n@ray.remote\ndef cleanly():\n{cleanly}\n"
               "print(ray.get(simulate.remote('a case')), ray.get(cleanly.remote()))\n")
    status, output = batch(lab, f"srun --mpi=pmix --cpu-bind=none ray-mpi --num-cpus 4 {file}")
    assert status == 0 and "(0, 'met 4 of 4\\n') 0" in output, output
