// SPDX-License-Identifier: Apache-2.0
// Caller: the object behind f.remote and f.options(..).remote, and behind the .remote of an actor's method.
// It holds the prepared template of one function or method with one set of options, so that a call is: look
// at the arguments, encode, submit, wrap the refs. Everything rare (export, options, a wrong number of
// arguments) is its owner's, in Python.
#include "bindings/python/src/submit.h"

#include <cstddef>
#include <utility>

#include "bindings/python/src/args.h"
#include "bindings/python/src/label_rules.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"

namespace rmpi::python {
namespace {

struct Caller {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* owner;      // has _prepare(caller) and _check(args, kwargs)
  Py_ssize_t min_args;  // without keywords, a call with so many arguments needs no further look
  Py_ssize_t max_args;
  uint64_t epoch;  // of the session that `handle` belongs to
  bool foreign;    // the function is in another language
  bool stream;     // its calls give generators
  TemplateHandle handle;
  PyObject* actor;      // an ObjectRef: whose method it is; null: of none
  int64_t max_pending;  // calls of this process that may wait at the actor; < 0: no limit
};

Imported g_generator("ray_mpi._generators", "ObjectRefGenerator");
PyTypeObject* g_type = nullptr;
Caller* Cast(PyObject* o) { return reinterpret_cast<Caller*>(o); }

// The slow look at a call's arguments: TypeError as in a plain call of the function.
void CheckArguments(Caller* self, PyObject* const* args, size_t positional, PyObject* names) {
  nb::object list = Steal(PyTuple_New(static_cast<Py_ssize_t>(positional)));
  for (size_t i = 0; i < positional; ++i) {
    PyTuple_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), nb::borrow(args[i]).release().ptr());
  }
  nb::object keywords = Steal(PyDict_New());
  const Py_ssize_t n = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < n; ++i) {
    Check(PyDict_SetItem(keywords.ptr(), PyTuple_GET_ITEM(names, i),
                         args[positional + static_cast<size_t>(i)]) == 0);
  }
  Steal(PyObject_CallMethod(self->owner, "_check", "OO", list.ptr(), keywords.ptr()));
}

// Its owner binds it, the first time in each session.
void Prepare(Caller* self) {
  if (self->epoch == Session::Get().epoch()) return;
  Steal(PyObject_CallMethod(self->owner, "_prepare", "O", self));
  if (self->epoch != Session::Get().epoch())
    Raise(PyExc_RuntimeError, "the remote function was not prepared");
}

nb::object Wrap(std::vector<Ref>& returns) {
  if (returns.size() == 1) return WrapRef(std::move(returns[0]));
  if (returns.empty()) return nb::none();
  nb::object list = Steal(PyList_New(static_cast<Py_ssize_t>(returns.size())));
  for (size_t i = 0; i < returns.size(); ++i) {
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), WrapRef(std::move(returns[i])).release().ptr());
  }
  return list;
}

nb::object Submit(Caller* self, PyObject* const* args, size_t positional, PyObject* names) {
  CoreWorker* core = Session::Get().CoreOrStart();
  const bool keywords = names != nullptr && PyTuple_GET_SIZE(names) > 0;
  const auto n = static_cast<Py_ssize_t>(positional);
  if (keywords || n < self->min_args || n > self->max_args) CheckArguments(self, args, positional, names);
  Prepare(self);
  if (!core->HasRoom()) WaitForRoom(core);
  ArgsEncoder encoder;
  encoder.Encode(core, args, positional, names, self->foreign);
  const TaskArgs list = encoder.Take();
  const TemplateHandle handle = self->handle;
  // One vector is kept for the next call. Taken, not shared: pickling an argument, or a collection while refs
  // are wrapped, can run user code that submits, too.
  thread_local std::vector<Ref> spare;
  std::vector<Ref> returns = std::move(spare);
  Status status;
  const auto submit = [&] {
    return self->actor == nullptr
               ? core->Submit(handle, list, &returns)
               : core->Call(LiveRef(self->actor), handle, list, self->max_pending, &returns);
  };
  while ((status = submit()).code() == StatusCode::kInterrupted) Check(PyErr_CheckSignals() == 0);
  CheckStatus(status);
  for (const Ref& ref : returns) NoteOrigin(self->actor == nullptr ? "task call" : "actor call", ref);
  nb::object result = Wrap(returns);
  if (self->stream) result = Steal(PyObject_CallOneArg(g_generator.get(), result.ptr()));
  returns.clear();
  spare = std::move(returns);
  return result;
}

PyObject* Vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  return Guard<PyObject*>(nullptr, [&] {
    const auto positional = static_cast<size_t>(PyVectorcall_NARGS(nargsf));
    return Submit(Cast(self), args, positional, names).release().ptr();
  });
}

PyObject* New(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *owner = nullptr, *actor = nullptr;
  Py_ssize_t min_args = 0, max_args = 0;
  long long max_pending = -1;
  if (!PyArg_ParseTuple(args, "Onn|OL", &owner, &min_args, &max_args, &actor, &max_pending)) return nullptr;
  if (actor != nullptr && !IsObjectRef(actor)) {
    PyErr_SetString(PyExc_TypeError, "Caller() wants an actor's ObjectRef");
    return nullptr;
  }
  auto* self = reinterpret_cast<Caller*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->vectorcall = &Vectorcall;
  Py_INCREF(owner);
  self->owner = owner;
  self->min_args = min_args;
  self->max_args = max_args;
  self->epoch = 0;
  self->foreign = false;
  self->stream = false;
  new (&self->handle) TemplateHandle;
  Py_XINCREF(actor);
  self->actor = actor;
  self->max_pending = max_pending;
  return reinterpret_cast<PyObject*>(self);
}

int Traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Cast(self)->owner);
  Py_VISIT(Cast(self)->actor);
  Py_VISIT(Py_TYPE(self));
  return 0;
}
int Clear(PyObject* self) {
  Py_CLEAR(Cast(self)->owner);
  Py_CLEAR(Cast(self)->actor);
  return 0;
}
void Dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  Clear(self);
  Cast(self)->handle.~TemplateHandle();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef g_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Caller, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot g_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(&New)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(&Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&Clear)},
    {Py_tp_call, reinterpret_cast<void*>(&PyVectorcall_Call)},
    {Py_tp_members, g_members},
    {Py_tp_doc, const_cast<char*>("Submits calls of one remote function with one set of options.")},
    {0, nullptr},
};
#if PY_VERSION_HEX >= 0x030C0000
constexpr unsigned long kVectorcallFlag = Py_TPFLAGS_HAVE_VECTORCALL;
#else
constexpr unsigned long kVectorcallFlag = 1UL
                                          << 11;  // the same bit, public under this name since 3.9 or 3.12
#endif
PyType_Spec g_spec = {"ray_mpi._core.Caller", sizeof(Caller), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | kVectorcallFlag, g_slots};

TaskTemplate TemplateOf(const nb::dict& options) {
  TaskTemplate t;
  t.function_id = nb::cast<std::string>(options["function_id"]);
  t.function_name = nb::cast<std::string>(options["function_name"]);
  t.name = nb::cast<std::string>(options["name"]);
  t.language = nb::cast<uint8_t>(options["language"]);
  t.num_returns = nb::cast<uint32_t>(options["num_returns"]);
  t.max_retries = nb::cast<int32_t>(options["max_retries"]);
  t.max_calls = nb::cast<uint32_t>(options["max_calls"]);
  t.stream = static_cast<StreamKind>(nb::cast<int>(options["stream"]));
  t.window = nb::cast<uint32_t>(options["window"]);
  t.retry_exceptions = nb::cast<bool>(options["retry_exceptions"]);
  const nb::bytes retry_list = nb::cast<nb::bytes>(options["retry_list"]);
  t.retry_list.assign(retry_list.c_str(), retry_list.size());
  for (nb::handle item : nb::cast<nb::list>(options["resources"])) {  // sorted by name
    const nb::tuple pair = nb::cast<nb::tuple>(item);
    t.resources.emplace_back(nb::cast<std::string>(pair[0]), nb::cast<double>(pair[1]));
  }
  t.strategy = static_cast<Strategy>(nb::cast<int>(options["strategy"]));
  t.affinity_node = nb::cast<uint32_t>(options["affinity_node"]);
  t.affinity_soft = nb::cast<bool>(options["affinity_soft"]);
  t.affinity_now = nb::cast<bool>(options["affinity_now"]);
  t.labels = LabelsOf(options["labels"]);
  t.creates_actor = nb::cast<bool>(options["creates_actor"]);
  t.ordered = nb::cast<bool>(options["ordered"]);
  t.concurrency_group = nb::cast<std::string>(options["concurrency_group"]);
  t.group = nb::cast<uint32_t>(options["group"]);
  t.bundle = nb::cast<int32_t>(options["bundle"]);
  t.capture = nb::cast<bool>(options["capture"]);
  t.inherits = nb::cast<bool>(options["inherits"]);
  return t;
}

// Gives a caller its template for the current session.
void Bind(nb::handle caller, const nb::dict& options) {
  if (Py_TYPE(caller.ptr()) != g_type) Raise(PyExc_TypeError, "bind() wants a Caller");
  Caller* self = Cast(caller.ptr());
  const TaskTemplate t = TemplateOf(options);
  self->handle = Session::Get().core()->Prepare(t);
  self->foreign = t.language != TaskTemplate().language;
  self->stream = t.stream == StreamKind::kItems;
  self->epoch = Session::Get().epoch();
}

// Gives a caller the template of another one: those of one method of many actors share it.
void BindLike(nb::handle caller, nb::handle other) {
  if (Py_TYPE(caller.ptr()) != g_type) Raise(PyExc_TypeError, "bind_like() wants Callers");
  Cast(caller.ptr())->handle = BoundTemplate(other);
  Cast(caller.ptr())->foreign = IsForeign(other);
  Cast(caller.ptr())->stream = Cast(other.ptr())->stream;
  Cast(caller.ptr())->epoch = Session::Get().epoch();
}

}  // namespace

TemplateHandle BoundTemplate(nb::handle caller) {
  if (Py_TYPE(caller.ptr()) != g_type) Raise(PyExc_TypeError, "a Caller is wanted");
  Prepare(Cast(caller.ptr()));
  return Cast(caller.ptr())->handle;
}

bool IsForeign(nb::handle caller) { return Cast(caller.ptr())->foreign; }

void InitSubmit(nb::module_& m) {
  nb::object type = Steal(PyType_FromSpec(&g_spec));
  g_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  m.attr("Caller") = type;
  (void)type.release();
  m.def("bind_like", &BindLike, "caller"_a, "other"_a, "Gives a Caller the template of another one.");
  m.def("bind", &Bind, "caller"_a, "options"_a, "Gives a Caller the template of its calls in this session.");
}

}  // namespace rmpi::python
