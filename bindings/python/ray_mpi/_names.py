# SPDX-License-Identifier: Apache-2.0
"""Small public types of `ray`, and its sub-packages, which are imported when first used."""

import dataclasses
import enum
import importlib

_LAZY = (
    "actor", "cloudpickle", "cluster_utils", "cross_language", "experimental", "job_config", "remote_function", "types", "util",
    "_common", "_private", "_raylet",
)  # fmt: skip
_LIBRARIES = (
    "data",
    "train",
    "tune",
    "serve",
    "rllib",
    "workflow",
    "air",
    "autoscaler",
    "dag",
    "widgets",
    "dashboard",
    "llm",
)


class Language(enum.Enum):
    """Of a task or actor."""

    PYTHON = 0
    JAVA = 1
    CPP = 2


@dataclasses.dataclass
class LoggingConfig:
    """Accepted by ray.init(logging_config=...)."""

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: list = dataclasses.field(default_factory=list)


def getattr_lazily(name):
    """ray.<sub-package>; what is not there yet is said by name."""
    if name in _LAZY:
        return importlib.import_module(f"ray_mpi.{name}")
    if name in _LIBRARIES:
        raise AttributeError(f"ray.{name} is not part of ray-mpi, which has Ray's core: tasks and objects")
    raise AttributeError(f"module 'ray' has no attribute {name!r}")
