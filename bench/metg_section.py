# SPDX-License-Identifier: Apache-2.0
"""METG(50 %) in bench/compare: sweeps of bench/metg for MPI, C++ tasks and Python tasks, table and curves (SVG).

Efficiency at a task size is the time that the kernels alone would take on the two cores over the time it took;
METG(50 %) is the task size, read off between two points of the sweep, below which efficiency is under one half.
"""

import itertools
import json
import math
import os
import statistics
import subprocess

PATTERNS = ("stencil_1d", "nearest", "no_dependency")
GRIDS = {2: 1000, 16: 200}  # columns: rows. Two is one column a core, as Task Bench has it; sixteen leaves slack
REPEATS, CORES = 5, 2
ITERATIONS = {  # large to small; the first ones also warm the workers
    "MPI": (30000, 10000, 3000, 1000, 300, 100, 30, 10, 3),
    "C++ tasks": (300000, 100000, 30000, 10000, 5000, 3000, 1500, 1000, 500, 300, 100),
    "Python tasks": (300000, 100000, 30000, 20000, 10000, 5000, 3000, 1000, 300),
}
NOTE = (
    "What the missed marks show: a rank of the MPI program keeps its columns and swaps eight bytes with its neighbour per"
    " row, or nothing at all; a task is a message to a worker and its result back to the driver, which here has no core of"
    " its own. Where tasks depend on each other, each row waits for two such exchanges between processes that share a core."
)
MARKS = {"C++ tasks": 10, "Python tasks": 50}  # times MPI's METG, at most


def _commands(build, side):
    metg = build / "bench" / "metg"
    here = os.path.dirname(os.path.abspath(__file__))
    mpirun = ["mpirun", "-n", "2", "--mca", "pml", "ob1", "--oversubscribe"]
    if os.geteuid() == 0:
        mpirun.insert(1, "--allow-run-as-root")
    return {
        "MPI": ([*mpirun, str(metg / "metg_mpi")], {}),
        "C++ tasks": ([str(metg / "metg_cpp")], {}),
        "Python tasks": ([side.python, os.path.join(here, "metg", "metg.py"), str(metg / "libmetg_kernel.so")], side.environment),
    }


def sweep(build, side, say):
    """The points of all curves, [{system, pattern, task_us, efficiency, driver_cpu, ..}], and the ns of one iteration."""
    calibrate = subprocess.run([str(build / "bench" / "metg" / "metg_calibrate")], capture_output=True, text=True, check=True)
    each_ns = json.loads(calibrate.stdout)["ns_per_iteration"]
    points = []
    for pattern, width in itertools.product(PATTERNS, GRIDS):
        for system, (command, environment) in _commands(build, side).items():
            say(f"METG: {system}, {pattern}, {width} columns ...")
            counts = ",".join(map(str, ITERATIONS[system]))
            arguments = [*command, pattern, str(width), str(GRIDS[width]), str(REPEATS), counts]
            done = subprocess.run(
                arguments, env={**os.environ, **environment}, capture_output=True, text=True, timeout=900, check=False
            )
            if done.returncode != 0:
                raise RuntimeError(f"{system}, {pattern}: status {done.returncode}: {done.stderr.strip()[-300:]}")
            for line in done.stdout.splitlines():
                if not line.startswith("{"):
                    continue
                found = json.loads(line)
                task_us = found["iterations"] * each_ns / 1000
                ideal = width * GRIDS[width] * task_us / 1e6 / CORES
                seconds = statistics.median(found["seconds"])
                points.append({**found, "task_us": task_us, "efficiency": ideal / seconds, "seconds": seconds})
    return points, each_ns


def curve(points, system, pattern, width):
    """The points of one sweep, smallest tasks first."""
    mine = [p for p in points if (p["system"], p["pattern"], p["width"]) == (system, pattern, width)]
    return sorted(mine, key=lambda p: p["task_us"])


def metg(line, level=0.5):
    """Task size in us at which efficiency crosses `level`, between two points on logarithmic scales; None: nowhere."""
    sizes = [(p["task_us"], p["efficiency"]) for p in line]
    for (small, low), (large, high) in zip(reversed(sizes[:-1]), reversed(sizes[1:])):
        if low < level <= high:
            part = (level - low) / (high - low)
            return math.exp(math.log(small) + part * (math.log(large) - math.log(small)))
    return None


def driver_cpu(line, task_us):
    """Cores that the driver used at the point of the sweep nearest to this task size."""
    return min(line, key=lambda p: abs(math.log(p["task_us"] / task_us)))["driver_cpu"]


HEAD = ("pattern", "columns", "MPI", "C++ tasks", "Python tasks", "C++ / MPI", "Python / MPI", "marks", "verdict")


def lines(points):
    for pattern, width in itertools.product(PATTERNS, GRIDS):
        sweeps = {system: curve(points, system, pattern, width) for system in ITERATIONS}
        found = {system: metg(sweeps[system]) for system in ITERATIONS}
        text = {system: f"{us:.2f} us" if us else "outside the sweep" for system, us in found.items()}
        for system in MARKS:
            if found[system]:
                text[system] += f" (driver {driver_cpu(sweeps[system], found[system]):.2f} cores)"
        ratios = {s: found[s] / found["MPI"] for s in MARKS if found[s] and found["MPI"]}
        met = all(s in ratios and ratios[s] <= MARKS[s] for s in MARKS)
        yield (
            pattern,
            str(width),
            *(text[system] for system in ITERATIONS),
            *(f"{ratios[s]:.1f}x" if s in ratios else "-" for s in MARKS),
            ", ".join(f"<= {most}x" for most in MARKS.values()),
            "met" if met else "**missed**",
        )


def draw(points, path):
    """Efficiency over task size, one panel a pattern."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ray-mpi"
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(len(GRIDS), len(PATTERNS), figsize=(11, 6), sharex=True, sharey=True)
    for row, width in zip(grid, GRIDS):
        for panel, pattern in zip(row, PATTERNS):
            for system in ITERATIONS:
                line = curve(points, system, pattern, width)
                sizes, efficiencies = [p["task_us"] for p in line], [p["efficiency"] for p in line]
                panel.semilogx(sizes, efficiencies, marker="o", markersize=3, label=system)
            panel.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
            panel.set_title(f"{pattern}, {width} columns")
        row[0].set_ylabel("efficiency on 2 cores")
    for panel in grid[-1]:
        panel.set_xlabel("time of one task (us)")
    grid[0][0].set_ylim(0, 1.1)
    grid[0][0].legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def section(points, each_ns, picture):
    text = ["", "## METG(50 %)", "", " ".join(__doc__.split("\n\n")[1].split()), ""]
    text.append(
        f"Grids of {' and '.join(f'{width} columns and {GRIDS[width]} rows' for width in GRIDS)}, {REPEATS} repeats, medians; one iteration takes {each_ns:.2f} ns; 2 workers on"
        " 2 cores, which the driver of the tasks shares. Commands: `mpirun -n 2 --mca pml ob1 build/release/bench/metg/metg_mpi"
        f" stencil_1d 16 200 {REPEATS} 1000,100`, the same arguments for `metg_cpp`, and `python bench/metg/metg.py"
        " build/release/bench/metg/libmetg_kernel.so stencil_1d ...`."
    )
    text += ["", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    text += ["| " + " | ".join(line) + " |" for line in lines(points)]
    if any("missed" in line for line in text):
        text += ["", NOTE]
    return [*text, "", f"![efficiency over task size]({picture})"]
