# SPDX-License-Identifier: Apache-2.0
"""`ray` and `ray_mpi` are one package: no module and no class exists twice, in whichever order they are imported."""

import importlib
import pkgutil
import subprocess
import sys

import pytest
import ray
import ray_mpi


def modules():
    skip = {"ray_mpi._zygote"}  # a program: imports everything that workers share
    return sorted(
        m.name
        for m in pkgutil.walk_packages(ray_mpi.__path__, "ray_mpi.")
        if m.name not in skip and "._ray_path" not in m.name
    )


@pytest.mark.parametrize("name", [name for name in modules() if not name.endswith("_core")])
def test_every_module_is_the_same_under_both_names(name):
    ours = importlib.import_module(name)
    theirs = importlib.import_module("ray" + name[len("ray_mpi") :])
    assert theirs is ours
    assert ours.__spec__.name == name  # the alias must not leave its own behind


def run(text):
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()


@pytest.mark.parametrize(
    "text",
    [
        "import ray; import ray_mpi; assert ray is ray_mpi",
        "import ray_mpi; import ray; assert ray is ray_mpi",
        "import ray.util; import ray_mpi.util; assert ray.util is ray_mpi.util",
        "import ray_mpi.util.scheduling_strategies as a; import ray.util.scheduling_strategies as b; assert a is b",
        "from ray.exceptions import RayError as a; from ray_mpi.exceptions import RayError as b; assert a is b",
        "from ray._raylet import ObjectRef as a; import ray; assert a is ray.ObjectRef",
        "import ray; assert ray.util.scheduling_strategies.In('x').values == ['x']",
        "import importlib, ray; r = importlib.reload(ray.types); assert r.ObjectRef is ray.ObjectRef",
    ],
)
def test_orders_of_import(text):
    run(text)


def test_a_missing_module_is_an_import_error():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ray.no_such_module")
    with pytest.raises(AttributeError, match="no_such_name"):
        ray.no_such_name
    with pytest.raises(AttributeError, match="core"):
        ray.data


def test_the_import_is_light():
    """What the import starts or loads is in every worker: no threads, no numpy, nothing that takes long."""
    heavy = ("numpy", "asyncio", "importlib.resources", "multiprocessing", "subprocess")
    out = run(f"import ray, sys, threading; print(threading.active_count(), *(m for m in {heavy} if m in sys.modules))")
    assert out == ["1"]


def test_versions():
    assert ray.__version__ == "2.60.0"
    from ray_mpi._version import __version__

    assert __version__ == "0.1.0"
