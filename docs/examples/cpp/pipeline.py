#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds the variable star in a series of noisy images: Python makes and judges, C++ filters and measures.

    python build/pipeline.py               # this machine
    ray-mpi -n 3 build/pipeline.py         # three ranks on this machine
    srun ray-mpi build/pipeline.py         # a Slurm allocation

Every image goes through three tasks: make_image here, then the C++ functions Smooth and FindStars of
libpipeline_kernels.so. What one makes, a numpy array, the next one reads in place. The program pipeline is the same
with a C++ driver, which calls the Python functions of this file. The right answer is known: `truth` has it.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
import ray

SIZE = 256  # of an image, in pixels
STARS = 49
VARIABLE = 17  # this one changes, with this period in images
PERIOD = 7.3
BLUR = 1.5  # the width of a star, in pixels
THRESHOLD = 5.0  # the noise of an image is 1, after Smooth 0.2


def catalogue():
    """Position and brightness of every star, the same at every call: rows of x, y, peak."""
    draw = np.random.default_rng(1)
    side = int(STARS**0.5)
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    places = (cells + 0.5 + draw.uniform(-0.2, 0.2, cells.shape)) * (SIZE / side)
    return np.column_stack([places, draw.uniform(30, 100, STARS)])


def make_image(number):
    """The image of that number: SIZE x SIZE, float32."""
    stars = catalogue()
    stars[VARIABLE, 2] *= 1 + 0.4 * np.sin(2 * np.pi * number / PERIOD)
    pixels = np.arange(SIZE)
    across = np.exp(-((pixels - stars[:, :1]) ** 2) / (2 * BLUR**2))
    down = stars[:, 2:] * np.exp(-((pixels - stars[:, 1:2]) ** 2) / (2 * BLUR**2))
    noise = np.random.default_rng([2, number]).normal(size=(SIZE, SIZE))
    return (down.T @ across + noise).astype(np.float32)


def find_variable(seen):
    """`seen` has a row (image, x, y, flux) for each star found in each image. Returns how many stars there are, the
    place of the one that varies most, and its period."""
    images = int(seen[:, 0].max()) + 1
    stars = seen[seen[:, 0] == 0, 1:3]
    distance = np.linalg.norm(seen[:, None, 1:3] - stars[None], axis=2)
    flux = np.full((len(stars), images), np.nan)
    matched = distance.min(axis=1) < 2
    flux[distance.argmin(axis=1)[matched], seen[matched, 0].astype(int)] = seen[matched, 3]
    variable = int(np.argmax(np.nanstd(flux, axis=1) / np.nanmean(flux, axis=1)))

    when = np.flatnonzero(~np.isnan(flux[variable]))
    curve = flux[variable, when] - flux[variable, when].mean()
    periods = np.linspace(2.5, images / 2, 5000)
    power = np.abs(np.exp(2j * np.pi * when / periods[:, None]) @ curve)
    place = seen[matched & (distance.argmin(axis=1) == variable), 1:3].mean(axis=0)
    return {
        "stars": int((np.isfinite(flux).mean(axis=1) > 0.9).sum()),
        "x": float(place[0]),
        "y": float(place[1]),
        "period": float(periods[power.argmax()]),
    }


def truth():
    """What find_variable should return."""
    x, y, _ = catalogue()[VARIABLE]
    return {"stars": STARS, "x": float(x), "y": float(y), "period": PERIOD}


def stars_by_numpy(image):
    """What FindStars finds in what Smooth makes of the image, without either: rows of x, y and flux."""
    radius = int(np.ceil(4 * BLUR))
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * BLUR**2))
    weights /= weights.sum()
    padded = np.pad(image.astype(float), radius, mode="edge")
    across = sum(weight * padded[:, i : i + SIZE] for i, weight in enumerate(weights))
    smooth = sum(weight * across[i : i + SIZE] for i, weight in enumerate(weights))

    shifted = {(dy, dx): np.roll(smooth, (-dy, -dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    highest = smooth >= np.maximum.reduce(list(shifted.values()))
    highest[[0, -1]] = highest[:, [0, -1]] = False  # no neighbours beyond the rim
    y, x = np.nonzero(highest & (smooth >= THRESHOLD))
    here, north, south, west, east = (shifted[d][y, x] for d in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)))
    off_x = (west - east) / 2 / (west - 2 * here + east)  # the top of a parabola through three neighbours
    off_y = (north - south) / 2 / (north - 2 * here + south)
    return np.column_stack([x + off_x, y + off_y, here])


def off_numpy(seen):
    """The largest difference between the rows of `seen` and those that numpy finds in this process."""
    most = 0.0
    for number in np.unique(seen[:, 0]).astype(int):
        expected, found = stars_by_numpy(make_image(number)), seen[seen[:, 0] == number, 1:]
        if expected.shape != found.shape:
            return float("inf")
        most = max(most, float(abs(expected - found).max()))
    return most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60, help="how many, at least 20; each is three tasks")
    parser.add_argument("--check", action="store_true", help="find all stars once more with numpy, and compare")
    options = parser.parse_args()
    if options.images < 20:
        parser.error("--images must be at least 20, or the period cannot be found")

    here = pathlib.Path(__file__).resolve().parent  # where the library lies
    ray.init(job_config=ray.job_config.JobConfig(code_search_path=[str(here)]))
    make = ray.remote(make_image)
    smooth = ray.cross_language.cpp_function("Smooth")
    find_stars = ray.cross_language.cpp_function("FindStars")

    started = time.monotonic()
    number_of = {}
    for number in range(options.images):
        smoothed = smooth.remote(make.remote(number), BLUR)
        number_of[find_stars.remote(smoothed, THRESHOLD)] = number
    waiting, seen = list(number_of), []
    while waiting:
        (ready,), waiting = ray.wait(waiting)
        stars = ray.get(ready)
        seen.append(np.column_stack([np.full(len(stars), float(number_of[ready])), stars]))
        if sys.stdout.isatty():
            print(f"\r{len(seen)}/{options.images} images, {len(stars)} stars in the last", end="", flush=True)
    if sys.stdout.isatty():
        print()
    seconds = time.monotonic() - started

    seen = np.concatenate(seen)
    found, right = find_variable(seen), truth()
    text = "{stars} stars, the one at {x:.2f}, {y:.2f} has a period of {period:.2f} images"
    print("answer:", text.format(**found))
    print("truth: ", text.format(**right))
    print(f"speed:  {3 * options.images / seconds:.0f} tasks per second, {seconds:.1f} s in all")
    ray.shutdown()
    if any(abs(found[key] - right[key]) > 0.1 for key in right):
        sys.exit("pipeline.py: the answer is wrong")
    if options.check:
        difference = off_numpy(seen)  # Smooth works in single precision
        print(f"check:  {len(seen)} rows of x, y and flux, off numpy by {difference:.1e} at most")
        if difference > 1e-3:
            sys.exit("pipeline.py: numpy finds other stars")


if __name__ == "__main__":
    main()
