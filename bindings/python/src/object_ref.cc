// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/object_ref.h"

#include <cstddef>
#include <random>
#include <utility>

#include "bindings/python/src/session.h"

namespace rmpi::python {

PyTypeObject* g_object_ref_type = nullptr;
thread_local RefCollector* RefCollector::current_ = nullptr;
thread_local const Ref* OuterRef::current_ = nullptr;

const Ref& OuterRef::Current() {
  static const Ref* none = new Ref;
  return current_ == nullptr ? *none : *current_;
}

namespace {

PyObject* g_load_ref = nullptr;  // _core._load_ref, what a pickled ref calls
Imported g_task_id("ray_mpi._ids", "TaskID");
Imported g_job_id("ray_mpi._ids", "JobID");
Imported g_origin("ray_mpi._origins", "here");

PyObjectRef* Cast(PyObject* o) { return reinterpret_cast<PyObjectRef*>(o); }

PyObjectRef* Allocate() {
  auto* self = PyObject_New(PyObjectRef, g_object_ref_type);
  if (self == nullptr) nb::raise_python_error();
  self->weakrefs = nullptr;
  new (&self->ref) Ref;
  new (&self->name) std::unique_ptr<ObjectId>;
  self->epoch = Session::Get().epoch();
  return self;
}

void Dealloc(PyObject* self) {
  PyObjectRef* r = Cast(self);
  if (r->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  r->ref.~Ref();
  r->name.~unique_ptr();
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

// A ref from an id: a real handle when the id is of this run, else a name.
nb::object FromId(const ObjectId& id, const Ref& outer) {
  PyObjectRef* self = Allocate();
  nb::object result = Steal(reinterpret_cast<PyObject*>(self));
  if (id.nil()) return result;
  if (Session::Get().connected() && Session::Get().core()->Borrow(id, outer, &self->ref).ok()) return result;
  self->name = std::make_unique<ObjectId>(id);
  return result;
}

nb::object FromBinaryObject(PyObject* o) {
  if (!PyBytes_Check(o)) {
    PyErr_Format(PyExc_TypeError, "an ObjectRef is made of %zd bytes, not of a %.100s",
                 static_cast<Py_ssize_t>(kObjectIdSize), Py_TYPE(o)->tp_name);
    nb::raise_python_error();
  }
  const std::string_view bytes(PyBytes_AS_STRING(o), static_cast<size_t>(PyBytes_GET_SIZE(o)));
  if (bytes.size() != kObjectIdSize) {
    PyErr_Format(PyExc_ValueError, "ID string needs to have length %zd, got %zd",
                 static_cast<Py_ssize_t>(kObjectIdSize), PyBytes_GET_SIZE(o));
    nb::raise_python_error();
  }
  ObjectId id;
  const bool nil = bytes.find_first_not_of('\xff') == std::string_view::npos;
  if (nil || !FromBinary(bytes, &id)) return FromId(ObjectId{}, Ref{});
  return LoadRef(id);
}

std::array<uint8_t, kObjectIdSize> BinaryOf(PyObject* self) {
  const ObjectId id = IdOf(self);
  if (id.nil()) {
    std::array<uint8_t, kObjectIdSize> nil;
    nil.fill(0xff);
    return nil;
  }
  return ToBinary(id);
}

PyObject* BinaryMethod(PyObject* self, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] {
    const auto b = BinaryOf(self);
    return BytesOf(b.data(), b.size()).release().ptr();
  });
}

std::string HexOf(PyObject* self) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : BinaryOf(self)) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

PyObject* HexMethod(PyObject* self, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] { return Str(HexOf(self)).release().ptr(); });
}

PyObject* Repr(PyObject* self) {
  return Guard<PyObject*>(nullptr, [&] { return Str("ObjectRef(" + HexOf(self) + ")").release().ptr(); });
}

PyObject* IsNil(PyObject* self, PyObject*) { return PyBool_FromLong(IdOf(self).nil()); }
PyObject* Size(PyObject*, PyObject*) { return PyLong_FromSize_t(kObjectIdSize); }
PyObject* NilMethod(PyObject*, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] { return FromId(ObjectId{}, Ref{}).release().ptr(); });
}
PyObject* FromBinaryMethod(PyObject*, PyObject* bytes) {
  return Guard<PyObject*>(nullptr, [&] { return FromBinaryObject(bytes).release().ptr(); });
}
PyObject* FromHexMethod(PyObject*, PyObject* text) {
  return Guard<PyObject*>(nullptr, [&] {
    nb::object bytes =
        Steal(PyObject_CallMethod(reinterpret_cast<PyObject*>(&PyBytes_Type), "fromhex", "O", text));
    return FromBinaryObject(bytes.ptr()).release().ptr();
  });
}
PyObject* FromRandomMethod(PyObject*, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] {
    std::random_device random;
    PyObjectRef* self = Allocate();
    nb::object result = Steal(reinterpret_cast<PyObject*>(self));
    self->name = std::make_unique<ObjectId>();
    self->name->task.job.value = random();
    self->name->task.owner = {random() | 1, static_cast<uint16_t>(random()), 0, random()};
    self->name->task.sequence = random();
    return result.release().ptr();
  });
}

PyObject* TaskIdMethod(PyObject* self, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] {
    const auto b = BinaryOf(self);
    return Steal(PyObject_CallFunction(g_task_id.get(), "y#", b.data(), static_cast<Py_ssize_t>(kTaskIdSize)))
        .release()
        .ptr();
  });
}

PyObject* JobIdMethod(PyObject* self, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] {
    const uint32_t job = IdOf(self).task.job.value;
    return Steal(PyObject_CallMethod(g_job_id.get(), "from_int", "k", static_cast<unsigned long>(job)))
        .release()
        .ptr();
  });
}

PyObject* CallSite(PyObject* self, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] { return Str(OriginOf(IdOf(self))).release().ptr(); });
}

PyObject* Reduce(PyObject* self, PyObject*) {
  return Guard<PyObject*>(nullptr, [&] {
    const Ref& ref = RefOf(self);
    // Outside of our own pickling nobody can tell how long the bytes live: hold the object until the job
    // ends.
    if (!ref.nil() && Cast(self)->epoch == Session::Get().epoch() && !RefCollector::Collect(ref)) {
      Session::Get().core()->PinForJob(ref);
    }
    const auto b = BinaryOf(self);
    return Steal(Py_BuildValue("O(y#)", g_load_ref, b.data(), static_cast<Py_ssize_t>(b.size())))
        .release()
        .ptr();
  });
}

PyObject* New(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return Guard<PyObject*>(nullptr, [&] {
    // Ray's constructor has more parameters (owner, call site); only the id means something here.
    PyObject* id = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : nullptr;
    if (id == nullptr && kwargs != nullptr) id = PyDict_GetItemString(kwargs, "id");
    if (id == nullptr) Raise(PyExc_TypeError, "ObjectRef() needs the object's id as bytes");
    return FromBinaryObject(id).release().ptr();
  });
}

Py_hash_t Hash(PyObject* self) {
  const auto h = static_cast<Py_hash_t>(std::hash<ObjectId>()(IdOf(self)));
  return h == -1 ? -2 : h;
}

PyObject* Compare(PyObject* a, PyObject* b, int op) {
  if (!IsObjectRef(a) || !IsObjectRef(b)) Py_RETURN_NOTIMPLEMENTED;
  const ObjectId x = IdOf(a), y = IdOf(b);
  switch (op) {
    case Py_EQ:
      return PyBool_FromLong(x == y);
    case Py_NE:
      return PyBool_FromLong(x != y);
    case Py_LT:
      return PyBool_FromLong(x < y);
    case Py_LE:
      return PyBool_FromLong(x <= y);
    case Py_GT:
      return PyBool_FromLong(x > y);
    default:
      return PyBool_FromLong(x >= y);
  }
}

PyMethodDef g_methods[] = {
    {"binary", &BinaryMethod, METH_NOARGS, "The id as 28 bytes."},
    {"hex", &HexMethod, METH_NOARGS, "The id in hexadecimal."},
    {"is_nil", &IsNil, METH_NOARGS, "Whether this names no object."},
    {"task_id", &TaskIdMethod, METH_NOARGS, "The id of the task that makes the object."},
    {"job_id", &JobIdMethod, METH_NOARGS, "The id of the job that the object belongs to."},
    {"call_site", &CallSite, METH_NOARGS, "Where the object was made; empty: not recorded."},
    {"size", &Size, METH_NOARGS | METH_STATIC, "Length of an id in bytes."},
    {"nil", &NilMethod, METH_NOARGS | METH_CLASS, "A ref that names no object."},
    {"from_binary", &FromBinaryMethod, METH_O | METH_CLASS, "The ref with this id."},
    {"from_hex", &FromHexMethod, METH_O | METH_CLASS, "The ref with this id in hexadecimal."},
    {"from_random", &FromRandomMethod, METH_NOARGS | METH_CLASS, "A ref that names no object of this run."},
    {"__reduce__", &Reduce, METH_NOARGS, nullptr},
    {"__class_getitem__", &Py_GenericAlias, METH_O | METH_CLASS, "ObjectRef[T], for annotations."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef g_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyObjectRef, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot g_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(&New)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(&Repr)},
    {Py_tp_hash, reinterpret_cast<void*>(&Hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(&Compare)},
    {Py_tp_methods, g_methods},
    {Py_tp_members, g_members},
    {Py_tp_doc,
     const_cast<char*>("A reference to an object of the runtime: a task's result, or what ray.put stored.")},
    {0, nullptr},
};
PyType_Spec g_spec = {"ray_mpi._core.ObjectRef", sizeof(PyObjectRef), 0, Py_TPFLAGS_DEFAULT, g_slots};

PyObject* LoadRefFunction(PyObject*, PyObject* bytes) { return FromBinaryMethod(nullptr, bytes); }
PyMethodDef g_load_ref_def = {"_load_ref", &LoadRefFunction, METH_O, "What a pickled ObjectRef calls."};

}  // namespace

const Ref& LiveRef(PyObject* o) {
  const PyObjectRef* r = Cast(o);
  if (r->ref.nil()) Raise(PyExc_ValueError, "the ObjectRef names no object of this run: " + HexOf(o));
  if (r->epoch != Session::Get().epoch()) {
    Raise(PyExc_ValueError, "the ObjectRef is of a session that has ended with ray.shutdown(): " + HexOf(o));
  }
  return r->ref;
}

ObjectId IdOf(PyObject* o) {
  const PyObjectRef* r = Cast(o);
  if (!r->ref.nil()) return r->ref.id();
  return r->name == nullptr ? ObjectId{} : *r->name;
}

nb::object WrapRef(Ref ref) {
  PyObjectRef* self = Allocate();
  self->ref = std::move(ref);
  return nb::steal<nb::object>(reinterpret_cast<PyObject*>(self));
}

void NoteOrigin(const char* what, const Ref& ref) {
  if (!Session::Get().records_origins() || ref.nil()) return;
  const nb::object text = Steal(PyObject_CallFunction(g_origin.get(), "s", what));
  Session::Get().core()->NoteOrigin(ref, std::string(nb::str(text).c_str()));
}

std::string OriginOf(const ObjectId& id) {
  return id.nil() || !Session::Get().connected() ? "" : Session::Get().core()->OriginOf(id);
}

nb::object LoadRef(const ObjectId& id) { return FromId(id, OuterRef::Current()); }

void InitObjectRef(nb::module_& m) {
  nb::object type = Steal(PyType_FromSpec(&g_spec));
  g_object_ref_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  m.attr("ObjectRef") = type;
  m.def(
      "origin_of",
      [](const nb::bytes& binary) {
        ObjectId id;
        return Str(FromBinary({binary.c_str(), binary.size()}, &id) ? OriginOf(id) : "");
      },
      nb::arg("object_id"), "Where the object was made, as ObjectRef.call_site() says it.");
  (void)type.release();
  nb::object name = Str("ray_mpi._core");
  nb::object load = Steal(PyCFunction_NewEx(&g_load_ref_def, nullptr, name.ptr()));
  m.attr("_load_ref") = load;
  g_load_ref = load.release().ptr();
}

}  // namespace rmpi::python
