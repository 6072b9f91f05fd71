// SPDX-License-Identifier: Apache-2.0
// Argument lists as bytes: u32 positional count, u32 keyword count, the positional values, then name and
// value of each keyword. No arguments at all: no bytes. A top-level ObjectRef becomes Tag::kArgument and an
// entry of TaskArgs::refs; a value that would push the list over the inline limit is Put and travels as a
// ref.
#pragma once

#include <vector>

#include "bindings/python/src/codec.h"

namespace rmpi::python {

class ArgsEncoder {
 public:
  // args as in vectorcall: the keywords' values follow the positional ones. foreign: the function is in
  // another language, which cannot read pickles.
  void Encode(CoreWorker* core, PyObject* const* args, size_t positional, PyObject* names, bool foreign);
  // Describes the encoded list; this object must outlive it.
  TaskArgs Take();

 private:
  void One(CoreWorker* core, PyObject* arg, bool foreign);
  uint32_t RefIndex(const Ref& ref);

  Encoder encoder_;
  std::vector<Ref> refs_;
  size_t put_bytes_ = 0;  // of arguments that were put because the list had become long
};

// A decoded list, ready for a vectorcall.
struct CallArgs {
  std::vector<nb::object> values;  // positional, then keyword values
  size_t positional = 0;
  nb::object names;  // tuple of keywords, or nothing
};
CallArgs DecodeArgs(Bytes bytes, std::span<const ValueView> values);

// Stores one value as an object of its own. `size`, if not null, becomes the encoded value's.
Ref PutValue(CoreWorker* core, PyObject* value, bool foreign = false, bool to_store = false,
             size_t* size = nullptr);

}  // namespace rmpi::python
