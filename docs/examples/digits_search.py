#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cross-validated search for a classifier of handwritten digits, spread over all nodes of the run.

    ray-mpi digits_search.py              # this machine
    srun ray-mpi digits_search.py         # a Slurm allocation
    python digits_search.py --trials 60   # the same file, any implementation of the `ray` API

The data set comes with scikit-learn, nothing is downloaded. Its images are put once into the object store; every
trial is a task, and every fold of a trial a task within it. Results are taken as they come. The answer does not
depend on where or in which order the trials ran.
"""

import argparse
import collections
import contextlib
import os
import random
import sys
import time

# One thread per task: the parallelism is the runtime's. Before numpy is imported, here and in the workers.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

try:
    import numpy as np
    import ray
    from sklearn.datasets import load_digits
    from sklearn.metrics import confusion_matrix
    from sklearn.model_selection import StratifiedKFold, train_test_split
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
except ModuleNotFoundError as missing:
    if missing.name not in ("sklearn", "numpy", "ray"):
        raise
    package = {"sklearn": "scikit-learn"}.get(missing.name, missing.name)
    sys.exit(f"digits_search.py needs {package}, which this Python ({sys.executable}) does not have: pip install {package}")

FOLDS = 3
SEED = 20


def candidates(count):
    """`count` settings to try: two families of models, drawn from a generator with a fixed seed."""
    draw = random.Random(SEED)
    found = []
    for number in range(count):
        if number % 4 == 3:
            found.append({"model": "knn", "n_neighbors": draw.randint(1, 15), "p": draw.choice([1, 2])})
        else:
            found.append({"model": "svc", "C": round(10 ** draw.uniform(-1, 2), 4), "gamma": round(10 ** draw.uniform(-4, -2), 6)})
    return found


def build(setting):
    options = {key: value for key, value in setting.items() if key != "model"}
    return (KNeighborsClassifier if setting["model"] == "knn" else SVC)(**options)


def describe(setting):
    return setting["model"] + "(" + ", ".join(f"{key}={value}" for key, value in setting.items() if key != "model") + ")"


@ray.remote
def score_fold(setting, images, labels, train, test):
    """Fit on one part, score on the other. `images` is read in place, shared by all tasks of a node."""
    right = build(setting).fit(images[train], labels[train]).predict(images[test]) == labels[test]
    return int(right.sum()), len(test), ray.get_runtime_context().get_node_id()


@ray.remote
def run_trial(number, setting, data):
    """All folds of one setting; while it waits for them its CPU is free for them."""
    images, labels, folds = data
    rows = ray.get([score_fold.remote(setting, images, labels, *fold) for fold in ray.get(folds)])
    return {
        "number": number,
        "accuracy": sum(right for right, _, _ in rows) / sum(total for _, total, _ in rows),
        "nodes": [node for _, _, node in rows] + [ray.get_runtime_context().get_node_id()],
    }


@contextlib.contextmanager
def progress(total):
    """Yield update(done, best): a bar on a terminal, a line now and then in a log."""
    started = time.monotonic()
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        Progress = None
    if Progress and sys.stdout.isatty():
        columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[best]}"))
        with Progress(*columns) as bar:
            line = bar.add_task("", total=total, best="")
            yield lambda done, best: bar.update(line, completed=done, best=f"best {best:.4f}")
        return

    marks = {round(total * tenth / 10) for tenth in range(1, 11)}

    def update(done, best):
        if done in marks:
            print(f"[{time.monotonic() - started:6.1f} s] {done}/{total} trials, best accuracy so far {best:.4f}", flush=True)

    yield update


def search(settings, data):
    """Start every trial, take each result as it comes, return them in the order of the settings."""
    waiting = [run_trial.remote(number, setting, data) for number, setting in enumerate(settings)]
    results = []
    with progress(len(waiting)) as update:
        while waiting:
            ready, waiting = ray.wait(waiting)
            results += ray.get(ready)
            update(len(results), max(result["accuracy"] for result in results))
    return sorted(results, key=lambda result: result["number"])


@ray.remote
def final_score(setting, images, labels, held_images, held_labels):
    """Fit the winner on all training images, judge it on images that the search has never seen."""
    predicted = build(setting).fit(images, labels).predict(held_images)
    return float((predicted == held_labels).mean()), confusion_matrix(held_labels, predicted)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=150, help="settings to try; each is 1 + %d tasks" % FOLDS)
    options = parser.parse_args()

    images, labels = load_digits(return_X_y=True)
    images, held_images, labels, held_labels = train_test_split(
        images, labels, test_size=0.25, random_state=SEED, stratify=labels
    )
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(images, labels))

    ray.init(ignore_reinit_error=True)
    started = time.monotonic()
    # Put once: every task gets references, every node holds one copy.
    data = [ray.put(images), ray.put(labels), ray.put(folds)]
    settings = candidates(options.trials)
    results = search(settings, data)
    seconds = time.monotonic() - started

    best = max(results, key=lambda result: (result["accuracy"], -result["number"]))
    winner = settings[best["number"]]
    accuracy, confusion = ray.get(final_score.remote(winner, data[0], data[1], held_images, held_labels))

    places = collections.Counter(node for result in results for node in result["nodes"])
    names = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
    missed = confusion.sum() - np.trace(confusion)
    print(f"answer: {describe(winner)}, cross-validated {best['accuracy']:.4f}, held-out {accuracy:.4f}")
    print(f"        {missed} of {len(held_labels)} held-out digits wrong, trial {best['number'] + 1} of {len(settings)}")
    for node, count in sorted(places.items()):
        print(f"ran:    {count} tasks on {names.get(node, '?')} ({node[:8]})")
    print(f"speed:  {sum(places.values()) / seconds:.0f} tasks per second, {seconds:.1f} s in all")
    ray.shutdown()


if __name__ == "__main__":
    main()
