# SPDX-License-Identifier: Apache-2.0
"""The Slurm lab of tests/slurm for benchmarks: four nodes in network namespaces of this machine."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent / "tests" / "slurm"


class Lab:
    """Up inside of `with`. Slurm's commands run on its controller, other commands on a node."""

    def __init__(self, *options):
        self.options = [str(option) for option in options]
        for folder in {sys.prefix, str(HERE.parent)}:  # what nodes have of their own, they do not see of ours
            if pathlib.Path(folder).parts[1] in ("tmp", "run"):
                self.options += ["--share", folder]

    def __enter__(self):
        up = subprocess.run([str(TESTS / "up"), *self.options], capture_output=True, text=True, check=False)
        if up.returncode != 0:
            sys.exit(f"no lab: {up.stderr.strip()}")
        self.folder = pathlib.Path(up.stdout.strip())
        self.shared = self.folder / "shared"
        self.nodes = [name for name in (self.folder / "names").read_text().split() if name != "ctl"]
        return self

    def __exit__(self, *_):
        subprocess.run([str(TESTS / "down"), str(self.folder)], check=True)

    def command(self, *words):
        return [str(TESTS / "lab"), "--folder", str(self.folder), *map(str, words)]

    def start(self, *words, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": self.shared, **options}
        return subprocess.Popen(self.command("run", *words), **options)

    def run(self, *words, limit_s=300):
        """What it printed; ends the benchmark if it fails."""
        return self._finish(self.start(*words), words, limit_s)

    def on(self, node, *words):
        return subprocess.run(self.command("on", node, *words), capture_output=True, text=True, check=True).stdout

    def limit(self, node, setting):
        subprocess.run(self.command("limit", node, setting), check=True)

    def cgroup(self, node):
        """The folder of the node's memory control group; ends the benchmark where there is none."""
        source = f'source "{TESTS}/common.sh"; choose_lab "{self.folder}"; cgroup_of {node}'
        path = pathlib.Path(subprocess.run(["bash", "-c", source], capture_output=True, text=True, check=True).stdout.strip())
        if not (path / "memory.stat").exists():
            sys.exit(f"no memory control group for {node}: {path}")
        return path

    def rows(self, *words, limit_s=300):
        """The JSON lines among what it printed."""
        return rows(self.run(*words, limit_s=limit_s))

    @staticmethod
    def _finish(process, words, limit_s):
        output, errors = process.communicate(timeout=limit_s)
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: status {process.returncode}\n{output}\n{errors[-2000:]}")
        return output


def rows(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"row"')]


def ray_mpi_command(nodes, ray_mpi, *words):
    """`words` under ray-mpi on so many nodes, with the Python that runs this."""
    return ["srun", "--mpi=pmix", f"-N{nodes}", ray_mpi, "--python", sys.executable, *words]


def default_ray_mpi():
    return os.environ.get("RAY_MPI_EXE", str(HERE.parent / ".venv" / "bin" / "ray-mpi"))
