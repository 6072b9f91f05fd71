# SPDX-License-Identifier: Apache-2.0
"""Errors that nobody has looked at are told of on stderr."""

import pytest
from support import run_program

HEAD = """
import ray, time
ray.init(num_cpus=1)

@ray.remote
def fail(text):
    raise ValueError(text)

@ray.remote
def use(value):
    return value

def later():
    time.sleep(1)
"""


def errors(folder, body, **kwargs):
    done = run_program(folder, HEAD + body, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("body", ["ref = fail.remote('nobody saw it')\nlater()\ndel ref", "fail.remote('nobody saw it')"])
def test_dropped_unread(tmp_path, body):
    text = errors(tmp_path, body + "\nlater()\n")
    assert text.count("Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1')") == 1
    assert "ValueError: nobody saw it" in text and "fail()" in text


@pytest.mark.parametrize(
    "look",
    [
        "try:\n    ray.get(ref)\nexcept ValueError:\n    pass",
        "ray.wait([ref])",
        "second = use.remote(ref)\ntry:\n    ray.get(second)\nexcept ValueError:\n    pass",
    ],
    ids=["get", "wait", "argument"],
)
def test_looked_at(tmp_path, look):
    assert "Unhandled" not in errors(tmp_path, f"ref = fail.remote('seen')\n{look}\ndel ref\nlater()\n")


def test_suppressed(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    assert "Unhandled" not in errors(tmp_path, "fail.remote('nobody saw it')\nlater()\n")
