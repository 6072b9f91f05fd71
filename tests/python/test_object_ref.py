# SPDX-License-Identifier: Apache-2.0
"""ObjectRef as a Python object: equality, hashing, text forms, pickling."""

import copy
import pickle
import re

import pytest
import ray
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def identity(value):
    return value


def test_equality_and_hash():
    a, b = ray.put(1), ray.put(1)
    assert a == a and a != b and a != 1 and a is not None
    same = get(ray.put([a]))[0]
    assert same == a and hash(same) == hash(a)
    assert {a: "a", b: "b"}[same] == "a"
    assert len({a, b, same}) == 2


def test_text_forms():
    ref = identity.remote(1)
    assert re.fullmatch(r"[0-9a-f]{56}", ref.hex())
    assert repr(ref) == f"ObjectRef({ref.hex()})" == str(ref)
    assert ref.binary().hex() == ref.hex() and len(ref.binary()) == 28


def test_ids_of_a_ref():
    ref = identity.remote(1)
    assert len(ref.task_id().binary()) == 24
    assert len(ref.job_id().binary()) == 4
    assert ref.hex().startswith(ref.task_id().hex())


def test_results_of_one_task_share_its_id():
    @ray.remote(num_returns=2)
    def two():
        return 1, 2

    first, second = two.remote()
    assert first.task_id() == second.task_id() and first != second


def test_a_nil_ref():
    assert ray.ObjectRef.nil().is_nil()
    assert not ray.put(1).is_nil()


def test_the_class():
    assert isinstance(ray.put(1), ray.ObjectRef)
    assert ray.ObjectRef is ray.ObjectID


def test_it_travels_in_containers_of_all_kinds():
    ref = ray.put("x")
    for box in ([ref], (ref,), {"k": ref}, {ref: 1}, [[{"deep": (ref,)}]]):
        assert get(identity.remote(box)) == box


def test_plain_pickle_works_for_a_users_own_use():
    ref = ray.put("kept")
    again = ray.cloudpickle.loads(ray.cloudpickle.dumps(ref))
    assert again == ref and get(again) == "kept"


def test_two_names_for_one_ref():
    ref = ray.put([1])
    alias = ref
    del ref
    assert get(alias) == [1]


def test_sorting_by_hex():
    refs = [ray.put(i) for i in range(5)]
    assert len({ref.hex() for ref in refs}) == 5


def test_refs_cannot_be_made_from_nonsense():
    with pytest.raises((TypeError, ValueError)):
        ray.ObjectRef(b"too short")
    with pytest.raises((TypeError, ValueError)):
        ray.ObjectRef("text")


def test_generic_subscript_for_type_hints():
    assert ray.ObjectRef[int] is not None


@pytest.mark.ours_only("there a copied ref is not counted")
def test_copy_counts():
    ref = ray.put("x")
    shallow = copy.copy(ref)
    del ref
    assert get(shallow) == "x"


@pytest.mark.ours_only("there plain pickle is refused")
def test_plain_pickle():
    ref = ray.put("kept")
    assert get(pickle.loads(pickle.dumps(ref))) == "kept"
