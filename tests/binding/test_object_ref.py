# SPDX-License-Identifier: Apache-2.0
"""ObjectRef as a C-level type."""

import gc
import pickle
import weakref

import pytest
import ray


def test_names_without_a_runtime():
    nil = ray.ObjectRef.nil()
    assert nil.is_nil() and nil.hex() == "ff" * 28 and ray.ObjectRef.size() == 28
    assert nil == ray.ObjectRef(b"\xff" * 28) and hash(nil) == hash(ray.ObjectRef.nil())
    random = ray.ObjectRef.from_random()
    assert not random.is_nil() and random != ray.ObjectRef.from_random()
    assert ray.ObjectRef.from_hex(random.hex()) == random == ray.ObjectRef.from_binary(random.binary())
    assert pickle.loads(pickle.dumps(random)) == random
    with pytest.raises(ValueError, match="names no object of this run"):
        ray.get(random)


def test_weak_references(runtime):
    ref = runtime.put(1)
    weak = weakref.ref(ref)
    assert weak() is ref
    del ref
    assert weak() is None


def test_it_has_no_dictionary_and_is_not_tracked(runtime):
    ref = runtime.put(1)
    assert not gc.is_tracked(ref)
    with pytest.raises(AttributeError):
        ref.anything = 1


def test_dropping_the_last_ref_frees_the_object(runtime):
    import ray_mpi

    before = ray_mpi._private_stats()["owned_objects"]
    refs = [runtime.put(i) for i in range(100)]
    assert ray_mpi._private_stats()["owned_objects"] == before + 100
    copies = list(refs)
    del refs
    assert ray_mpi._private_stats()["owned_objects"] == before + 100
    del copies
    assert ray_mpi._private_stats()["owned_objects"] == before


def test_ids_follow_the_layout(runtime):
    ref = runtime.put(1)
    assert ref.task_id().binary() == ref.binary()[:24]
    assert ref.job_id() == ref.task_id().job_id()
    assert ref.job_id().hex() == runtime.get_runtime_context().get_job_id()
