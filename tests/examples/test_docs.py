# SPDX-License-Identifier: Apache-2.0
"""What the documentation says to type works: every block ```sh and ```python of these pages is run, in a folder that
looks like a checkout in which ./app.py is the user's program. Blocks of other kinds (bash, py, console) are not: they
need more than that, such as a runtime that serves.

The indented text after a block is what it prints: each of its lines must come, whatever the numbers and names in it."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from conftest import RAY_MPI, ROOT, run

PAGES = ["README.md", "docs/python.md", "docs/examples/README.md"]
APP = "import ray\nray.init()\nassert ray.get(ray.remote(lambda x: x + 1).remote(1)) == 2\n"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n((?:\n|    [^\n]*\n)*)", re.MULTILINE | re.DOTALL)


def shape(line):
    """Without numbers, and without what stands in brackets behind them."""
    return re.sub(r"[0-9][0-9.e+-]*", "#", line.strip())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, built):
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "app.py").write_text(APP)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/ray-mpi").symlink_to(RAY_MPI)
    python = folder / ".venv/bin/python"  # a link would not find the packages of this one
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "build").mkdir()
    shutil.copytree(built, folder / "build/examples", ignore=shutil.ignore_patterns("CMake*"))
    return folder


def blocks():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield pytest.param(*found.groups(), id=f"{Path(page)}:{line}")


@pytest.mark.parametrize("language, code, expected", list(blocks()))
def test_block(checkout, language, code, expected):
    if "sklearn" in code or "digits_search" in code:
        pytest.importorskip("sklearn")
    # The slowest of them, building the examples, has been done.
    code = "\n".join(line for line in code.splitlines() if not line.startswith("cmake "))
    command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-c", code]
    said = run(*command, cwd=checkout, env={"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    shapes = {shape(line) for line in said.splitlines()}
    wanted = [line for line in expected.splitlines() if line.strip() and "..." not in line]
    assert not [line for line in wanted if shape(line) not in shapes], said
