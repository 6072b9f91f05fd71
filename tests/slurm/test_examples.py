# SPDX-License-Identifier: Apache-2.0
"""The C++ examples of the documentation as batch jobs on four nodes."""

import os
import subprocess

import pytest

from conftest import RAY_MPI, ROOT

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")


@pytest.fixture(scope="module")
def built(lab):
    folder = lab.shared / "examples"
    prefix = subprocess.run([RAY_MPI, "--cmake-prefix"], check=True, text=True, capture_output=True).stdout.strip()
    subprocess.run(["cmake", "-S", ROOT / "docs/examples/cpp", "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}"], check=True)
    subprocess.run(["cmake", "--build", folder, "--parallel", "2"], check=True)
    return folder


@pytest.mark.parametrize("command, expected", [
    ("parameter_study --measurements 2000 --penalties 4 --check", "check:  0 of 36 trials differ"),
    ("heat --points 128 --steps 10 --check", "check:  off a serial computation by 0.0e+00"),
    ("pipeline --images 24 --check", "check:  0 of 24 images differ"),
    ("pipeline.py --images 24 --check", "check:  1176 rows of x, y and flux, off numpy by "),
], ids=lambda text: text.split()[0])
def test_example_as_a_batch_job(lab, app, built, command, expected):
    script = (ROOT / "docs/examples/batch.sbatch").read_text().replace("ray-mpi app.py", f"{RAY_MPI} {built}/{command}")
    status, _, output = lab.batch(script, "--chdir", lab.shared, f"--export=ALL,PATH={os.environ['PATH']}", timeout_s=120)
    assert status == 0 and expected in output, output
    if command.startswith("parameter_study"):
        hosts = {line.split()[-1] for line in output.splitlines() if line.startswith("ran: ")}
        assert hosts == {"n0", "n1", "n2", "n3"}, output
