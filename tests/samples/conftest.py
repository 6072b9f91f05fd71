# SPDX-License-Identifier: Apache-2.0
"""Runs a program as a user would: a file of its own, started with this interpreter."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

PROGRAM_LIMIT_S = 120


@pytest.fixture
def program(tmp_path):
    """program(text, *args) -> what it printed. The program must end by itself, with status 0."""

    def run(text, *args, status=0):
        path = pathlib.Path(tmp_path) / "app.py"
        path.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, str(path), *map(str, args)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            capture_output=True,
            text=True,
            timeout=PROGRAM_LIMIT_S,
            check=False,
        )
        assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
