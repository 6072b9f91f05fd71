# SPDX-License-Identifier: Apache-2.0
"""Every example, small, by itself and on three ranks. Each compares its answer with a plain computation."""

import sys

import pytest

from conftest import EXAMPLES, RAY_MPI, run

# Arguments, and what must be among what it prints.
CPP = {
    "parameter_study": (["--penalties", "2", "--measurements", "2000", "--check"],
                        ["answer: degree 5, ", "check:  0 of 18 trials differ"]),
    "heat": (["--points", "96", "--blocks", "3", "--steps", "8", "--check"],
             ["answer: 8 steps of 96 x 96 points; off the exact solution by ", "check:  off a serial computation by 0.0e+00"]),
    "parameter_server": (["--shards", "3", "--rows", "2000", "--features", "20", "--steps", "40", "--check"],
                         ["answer: 20 parameters of 6000 measurements", "check:  0 of 20 parameters differ"]),
    "pipeline": (["--images", "24", "--check"], ["answer: 49 stars", "check:  0 of 24 images differ"]),
    "pipeline.py": (["--images", "24", "--check"], ["answer: 49 stars", "check:  1176 rows of x, y and flux, off numpy by "]),
}


def run_example(folder, name, *launcher):
    arguments, expected = CPP[name]
    alone = (sys.executable,) if name.endswith(".py") else ()
    said = run(*(launcher or alone), folder / name, *arguments, cwd=folder)
    assert all(text in said for text in expected), said
    return said


@pytest.mark.parametrize("name", CPP)
def test_alone(built, name):
    run_example(built, name)


@pytest.mark.parametrize("name", CPP)
def test_three_ranks(built, name):
    run_example(built, name, RAY_MPI, "--python", sys.executable, "-n", "3")


@pytest.mark.parametrize("name", CPP)
def test_help_and_a_wrong_option(built, name):
    launcher = [sys.executable] if name.endswith(".py") else []
    assert "--check" in run(*launcher, built / name, "--help", cwd=built)
    assert "--nonsense" in run(*launcher, built / name, "--nonsense", cwd=built, status=2)


def test_wrong_images_are_refused(built):
    """The errors that the C++ functions of the pipeline throw reach a Python caller with their text."""
    program = built / "wrong.py"
    program.write_text(f"""
import numpy as np, ray
ray.init(num_cpus=1, job_config=ray.job_config.JobConfig(code_search_path=[{str(built)!r}]))
smooth = ray.cross_language.cpp_function("Smooth")
for image, width in ((np.ones(5, np.float32), 1.0), (np.ones((5, 5), np.float32), 0.0)):
    try:
        ray.get(smooth.remote(image, width))
        print("not refused")
    except ray.exceptions.RayError as error:
        print(error)
print(ray.get(smooth.remote(np.ones((0, 7), np.float32), 1.0)).shape)
""")
    said = run(sys.executable, program, cwd=built)
    assert "an image has 2 dimensions, not 1" in said and "the width must be above 0" in said
    assert "not refused" not in said and said.endswith("(0, 7)\n"), said


def test_digits_search(tmp_path):
    pytest.importorskip("sklearn")
    command = [EXAMPLES / "digits_search.py", "--trials", "8"]
    answers = [[line for line in run(*launcher, *command, cwd=tmp_path).splitlines() if line.startswith("answer:")]
               for launcher in ([sys.executable], [RAY_MPI, "--python", sys.executable, "-n", "3"])]
    assert len(answers[0]) == 1 and answers[0] == answers[1]
