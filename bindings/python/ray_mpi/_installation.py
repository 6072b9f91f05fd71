# SPDX-License-Identifier: Apache-2.0
"""The first import of what ray_mpi cannot do without: says what is wrong with an installation, not only where."""

import os
import sys


def _explain(error):
    folder = os.path.dirname(os.path.abspath(__file__))
    built_for = sorted(name.split(".")[1] for name in os.listdir(folder) if name.startswith("_core."))
    if error.name == "cloudpickle":
        reason = f"it has no cloudpickle. {sys.executable} -m pip install 'cloudpickle>=3'"
    elif not any(sys.implementation.cache_tag.replace("cpython-", "-") in tag for tag in built_for):
        reason = (
            f"it was built for {', '.join(built_for) or 'no Python at all'}. Install ray-mpi for this one, or name "
            "the other with `ray-mpi --python`"
        )
    else:
        reason = f"{error}. Load the modules that it was built with, or install it again"
    version = ".".join(map(str, sys.version_info[:3]))
    return f"ray_mpi in {folder} cannot be used by {sys.executable} (Python {version}): {reason}"


try:
    import cloudpickle  # noqa: F401

    from ray_mpi import _core  # noqa: F401
except ImportError as import_error:
    raise ImportError(_explain(import_error)) from None
