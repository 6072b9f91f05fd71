// SPDX-License-Identifier: Apache-2.0
// ObjectRef: the Python object that holds one Ref. Made and dropped in the hot loop, hence a C-level type
// without a dictionary and without cycle collection (it refers to no Python object). Weakly referable.
#pragma once

#include <memory>

#include "bindings/python/src/py.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::python {

struct PyObjectRef {
  PyObject_HEAD PyObject* weakrefs;
  Ref ref;                         // nil: a name only (ObjectRef.nil(), an id of another run)
  std::unique_ptr<ObjectId> name;  // set when ref is nil and the id is not
  uint64_t epoch;                  // of the session that ref belongs to
};

extern PyTypeObject* g_object_ref_type;

void InitObjectRef(nb::module_& m);

inline bool IsObjectRef(PyObject* o) { return Py_TYPE(o) == g_object_ref_type; }
inline const Ref& RefOf(PyObject* o) { return reinterpret_cast<PyObjectRef*>(o)->ref; }
ObjectId IdOf(PyObject* o);
// The ref of an object that IsObjectRef; throws when it is a name only, or of a session that has ended.
const Ref& LiveRef(PyObject* o);

nb::object WrapRef(Ref ref);

// Writes down where the Python program is, as where this ref was made; nothing unless the session records it.
void NoteOrigin(const char* what, const Ref& ref);
std::string OriginOf(const ObjectId& id);

// Where refs met while a value is pickled are collected; one per thread, innermost first.
class RefCollector {
 public:
  explicit RefCollector(std::vector<Ref>* refs) : refs_(refs), outer_(current_) { current_ = this; }
  ~RefCollector() { current_ = outer_; }
  RefCollector(const RefCollector&) = delete;
  RefCollector& operator=(const RefCollector&) = delete;
  // Notes a ref that goes into the value being pickled; false: this is a pickle of the user's own.
  static bool Collect(const Ref& ref) {
    if (current_ == nullptr) return false;
    current_->refs_->push_back(ref);
    return true;
  }

 private:
  static thread_local RefCollector* current_;
  std::vector<Ref>* refs_;
  RefCollector* outer_;
};

// The object whose value is being unpickled on this thread: the protector of the refs inside it.
class OuterRef {
 public:
  explicit OuterRef(const Ref* ref) : previous_(current_) { current_ = ref; }
  ~OuterRef() { current_ = previous_; }
  OuterRef(const OuterRef&) = delete;
  OuterRef& operator=(const OuterRef&) = delete;
  static const Ref& Current();

 private:
  static thread_local const Ref* current_;
  const Ref* previous_;
};

// The ref named by an id found in a value.
nb::object LoadRef(const ObjectId& id);

}  // namespace rmpi::python
