# SPDX-License-Identifier: Apache-2.0
"""JobConfig: settings of a job as one object."""


class JobConfig:
    """Accepted by ray.init(job_config=...)."""

    def __init__(self, *, metadata=None, ray_namespace=None, runtime_env=None, code_search_path=None, **others):
        self.metadata = metadata or {}
        self.ray_namespace = ray_namespace
        self.runtime_env = runtime_env or {}
        self.code_search_path = code_search_path or []
        self.others = others
