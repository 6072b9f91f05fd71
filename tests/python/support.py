# SPDX-License-Identifier: Apache-2.0
"""What the behaviour tests share: which implementation runs, waiting with an end, programs in a process of their own."""

import os
import pathlib
import subprocess
import sys
import textwrap
import time

import ray

# The same files run under Ray itself, to check that they describe its behaviour; its package ships its raylet.
UNDER_RAY = (pathlib.Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet").exists()
PACKAGE = os.path.dirname(os.path.abspath(ray.__file__))
RAY_MPI = os.path.join(PACKAGE, "bin", "ray-mpi")
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# How long any single wait of a test may take. Generous: Ray starts a worker in seconds on a busy machine.
PATIENCE_S = 60


def get(refs, timeout=PATIENCE_S):
    """ray.get that cannot hang the run."""
    return ray.get(refs, timeout=timeout)


def fresh_runtime(**options):
    """End the runtime that there is, and start one with these options, for the tests of a module."""
    ray.shutdown()
    ray.init(log_to_driver=False, include_dashboard=False, **options)
    return ray


def eventually(condition, timeout=PATIENCE_S, interval=0.02):
    """Wait until condition() is true; return its last value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(interval)


def run_program(folder, text, *args, timeout=120, env=None, name="program.py", **kwargs):
    """Write `text` as a program into `folder` and run it with this interpreter."""
    path = pathlib.Path(folder) / name
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, str(path), *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **kwargs,
    )


def count_lines(path):
    """How often a task that appends one line per attempt has run."""
    path = pathlib.Path(path)
    return len(path.read_text().splitlines()) if path.exists() else 0


def note(path, text=""):
    """Append one line; O_APPEND keeps lines of concurrent tasks whole."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def descendants(pid=None):
    """Living processes below `pid` (default: this one), zombies left out."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = set(), [pid or os.getpid()]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def alive(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def compile_cpp(folder, source, result, *options):
    """Compile a program or library against the package's C++ API."""
    include = os.path.join(PACKAGE, "include")
    lib = os.path.join(PACKAGE, "lib")
    command = ["c++", "-std=c++17", "-O1", *options, str(source), "-o", result, f"-I{include}"]
    command += [f"-L{lib}", "-lray-mpi", f"-Wl,-rpath,{lib}"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
