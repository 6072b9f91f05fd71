# SPDX-License-Identifier: Apache-2.0
"""Makes `ray` and everything below it the very same module objects as `ray_mpi`.

A class must not exist twice (isinstance, pickles by reference, module state), so `import ray.util.x` must not
load ray_mpi/util/x.py a second time under another name: a finder in front of all others answers for `ray.*`
with the module of the same name below `ray_mpi`.
"""

import importlib
import importlib.machinery
import importlib.util
import sys

OURS, ALIAS = "ray_mpi", "ray"


class _SameModule:
    """A loader that hands out a module that exists already. (importlib.abc has base classes for loaders and
    finders; they need half the standard library.)"""

    def __init__(self, module):
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec):
        return self._module

    def exec_module(self, module):
        module.__spec__ = self._spec  # the import system has just put the alias's there


class _AliasFinder:
    def find_spec(self, name, path=None, target=None):
        if not name.startswith(ALIAS + "."):
            return None
        real = OURS + name[len(ALIAS) :]
        if real not in sys.modules and importlib.util.find_spec(real) is None:
            return None  # "No module named 'ray.x'", by the import system itself
        module = importlib.import_module(real)
        return importlib.machinery.ModuleSpec(name, _SameModule(module), is_package=hasattr(module, "__path__"))


def install():
    """Idempotent. Leaves a real Ray that was imported before alone."""
    ours = sys.modules[OURS]
    current = sys.modules.get(ALIAS)
    if current is not None and current is not ours and getattr(current, "_is_ray_mpi_path", False) is False:
        return
    sys.modules[ALIAS] = ours
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())


def import_alias(name):
    """Make sys.modules["ray.<name>"] exist: cloudpickle looks there to tell importable classes from others."""
    importlib.import_module(f"{ALIAS}.{name}")
