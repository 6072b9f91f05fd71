# SPDX-License-Identifier: Apache-2.0
"""JobConfig: settings of a job as one object."""


class JobConfig:
    """Accepted by ray.init(job_config=...)."""

    def __init__(self, *, metadata=None, ray_namespace=None, runtime_env=None, code_search_path=None,
                 default_actor_lifetime="non_detached", **others):
        self.metadata = metadata or {}
        self.ray_namespace = ray_namespace
        self.runtime_env = runtime_env or {}
        self.code_search_path = code_search_path or []
        self.set_default_actor_lifetime(default_actor_lifetime)
        self.others = others

    def set_default_actor_lifetime(self, default_actor_lifetime):
        """The lifetime of actors whose options say nothing of it: "detached" or "non_detached"."""
        if default_actor_lifetime not in ("detached", "non_detached"):
            raise ValueError("Default actor lifetime must be one of `detached`, `non_detached`")
        self.default_actor_lifetime = default_actor_lifetime
