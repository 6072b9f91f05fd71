# SPDX-License-Identifier: Apache-2.0
"""C++ tasks in bench/compare: beside the bare lane (the limit) and beside Python tasks, all in one run."""

import json
import statistics
import subprocess

NOTE = (
    "What a missed mark of the asynchronous row shows: making the task and its record, the message, and reading the result"
    " take the driver about 1 us, evenly spread (no function has more than 2 % of it); a bare record takes 0.08 us."
)
SYNC_OVER_LANE_US = 3.0
ASYNC_AT_LEAST = 1e6
ASYNC_OF_LANE = 0.3
PYTHON_TWINS = {
    "cpp_tasks_sync": "single_client_tasks_sync",
    "cpp_tasks_async": "single_client_tasks_async",
    "cpp_put_calls": "single_client_put_calls",
    "cpp_get_calls": "single_client_get_calls",
    "cpp_view_of_100MB": "get_100MB_array",
}


def _lines(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def lane(build):
    """(round trip in us, records of 64 bytes per second) of bare lanes between two spinning threads; medians of 5."""
    command = [
        str(build / "bench" / "micro_lane"),
        "--benchmark_filter=RoundTrip/spinning_two_cpus|BM_OneWay/64/32",
        "--benchmark_format=json",
        "--benchmark_repetitions=5",
        "--benchmark_report_aggregates_only=true",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    medians = [b for b in json.loads(done.stdout)["benchmarks"] if b["aggregate_name"] == "median"]
    trip = next(b["real_time"] for b in medians if b["run_name"].startswith("RoundTrip"))
    rate = next(b["items_per_second"] for b in medians if b["run_name"].startswith("BM_OneWay"))
    return trip / 1000, rate


def measure(build):
    """{"rows": {name: {"unit", "samples"}}, "trip_us", "records"}."""
    trip, records = lane(build)
    rows = {row["row"]: row for row in _lines([str(build / "bench" / "cpp_rows")])}
    return {"rows": rows, "trip_us": trip, "records": records}


def table(found, python, spread, quantity):
    """Lines of the table: name, unit, C++, Python tasks, what it is compared with, mark, verdict."""
    for name, row in found["rows"].items():
        middle = statistics.median(row["samples"])
        twin = python.get(PYTHON_TWINS[name])
        theirs = statistics.median(twin["samples"]) if twin and twin.get("samples") else None
        if theirs is not None and row["unit"] == "us":
            theirs = 1e6 / theirs
        compared, marks, good = [], [], []
        if name == "cpp_tasks_sync":
            compared.append(f"lane round trip {found['trip_us']:.2f} us + {middle - found['trip_us']:.2f} us")
            marks.append(f"+ {SYNC_OVER_LANE_US:g} us")
            good.append(middle - found["trip_us"] <= SYNC_OVER_LANE_US)
        if name == "cpp_tasks_async":
            compared.append(f"{middle / found['records']:.2f} of the lane's {quantity(found['records'])} records/s")
            marks.append(f"1 M/s and {ASYNC_OF_LANE} of the lane")
            good.append(middle >= ASYNC_AT_LEAST and middle >= ASYNC_OF_LANE * found["records"])
        if theirs is not None:
            ratio = theirs / middle if row["unit"] == "us" else middle / theirs
            compared.append(f"{quantity(ratio)}x Python")
            marks.append("not below Python")
            good.append(ratio >= 1)
        verdict = "-" if not good else "met" if all(good) else "**missed**"
        yield name, row["unit"], spread(row), quantity(theirs) if theirs else "-", ", ".join(compared), ", ".join(marks), verdict


HEAD = ("row", "unit", "C++", "Python tasks", "beside", "mark", "verdict")


def section(found, python, spread, quantity):
    text = ["", "## C++ tasks", "", "`build/release/bench/cpp_rows` (a C++ driver, two workers) and `micro_lane`, in the same run.", ""]
    text += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    text += ["| " + " | ".join(line) + " |" for line in table(found, python, spread, quantity)]
    if any("missed" in line for line in text):
        text += ["", NOTE]
    return text
