// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/args.h"

#include <unordered_map>
#include <utility>

#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"

namespace rmpi::python {
namespace {

constexpr size_t kFewRefs = 16;  // up to here a linear search finds a repeated ref fastest
constexpr size_t kMostPutInline = 8 << 20;
constexpr size_t kKeepGilBelow = 64 * 1024;  // copying less than this is shorter than a change of threads

// In an argument list a value may be a placeholder of a resolved ref.
nb::object DecodeOne(Decoder& decoder, std::span<const ValueView> values) {
  static const Ref none;
  if (decoder.PeekTag() != Tag::kArgument) return decoder.Value();
  decoder.Advance(1);
  const auto index = decoder.Take<uint32_t>();
  if (index >= values.size()) Raise(PyExc_ValueError, "a task names an argument that did not come with it");
  return DecodeView(values[index], none);
}

}  // namespace

Ref PutValue(CoreWorker* core, PyObject* value, bool foreign, bool to_store, size_t* size) {
  Encoder encoder;
  foreign ? encoder.ForeignValue(value) : encoder.Value(value);
  ValueSource source = SourceOf(encoder);
  source.to_store = to_store;
  if (size != nullptr) *size = source.size;
  Ref ref;
  Status status;
  for (;;) {
    if (source.size < kKeepGilBelow) {
      status = core->Put(source, &ref);
    } else {
      InCore guard;
      GilRelease release;
      status = core->Put(source, &ref);
    }
    if (status.code() != StatusCode::kInterrupted) break;
    Check(PyErr_CheckSignals() == 0);
  }
  CheckStatus(status);
  return ref;
}

uint32_t ArgsEncoder::RefIndex(const Ref& ref) {
  // The same ref often stands in a list many times; its value then travels once. (Beyond a few refs only the
  // neighbours are compared: a list of 10,000 different refs must not cost a search each.)
  const size_t from = refs_.size() > kFewRefs ? refs_.size() - kFewRefs : 0;
  for (size_t i = from; i < refs_.size(); ++i) {
    if (refs_[i].entry() == ref.entry()) return static_cast<uint32_t>(i);
  }
  refs_.push_back(ref);
  return static_cast<uint32_t>(refs_.size() - 1);
}

void ArgsEncoder::One(CoreWorker* core, PyObject* arg, bool foreign) {
  if (IsObjectRef(arg) && !RefOf(arg).nil()) {
    const uint32_t index = RefIndex(LiveRef(arg));
    encoder_.PutTag(Tag::kArgument);
    encoder_.Put(index);
    return;
  }
  const Encoder::Mark mark = encoder_.mark();
  try {
    foreign ? encoder_.ForeignValue(arg) : encoder_.Value(arg);
  } catch (nb::python_error& e) {
    if (foreign) throw;  // it says all
    ExplainUnserializable(e, "the argument", arg);
  }
  if (encoder_.size() <= kInlineLimit) return;
  encoder_.Rewind(mark);
  // Small ones still travel in the task's message, up to a bound.
  size_t size = 0;
  const uint32_t index = RefIndex(PutValue(core, arg, foreign, put_bytes_ > kMostPutInline, &size));
  put_bytes_ += size;
  encoder_.PutTag(Tag::kArgument);
  encoder_.Put(index);
}

void ArgsEncoder::Encode(CoreWorker* core, PyObject* const* args, size_t positional, PyObject* names,
                         bool foreign) {
  const size_t keywords = names == nullptr ? 0 : static_cast<size_t>(PyTuple_GET_SIZE(names));
  if (positional + keywords == 0) return;
  encoder_.Put(static_cast<uint32_t>(positional));
  encoder_.Put(static_cast<uint32_t>(keywords));
  for (size_t i = 0; i < positional; ++i) One(core, args[i], foreign);
  for (size_t i = 0; i < keywords; ++i) {
    encoder_.Value(PyTuple_GET_ITEM(names, static_cast<Py_ssize_t>(i)));
    One(core, args[positional + i], foreign);
  }
}

TaskArgs ArgsEncoder::Take() {
  TaskArgs out;
  out.size = encoder_.size();
  out.write = [this](std::byte* dest) { encoder_.Write(dest); };
  out.refs = std::move(refs_);
  out.nested = std::move(encoder_.refs());
  return out;
}

CallArgs DecodeArgs(Bytes bytes, std::span<const ValueView> values) {
  CallArgs out;
  if (bytes.empty()) return out;
  static const std::shared_ptr<const void>
      no_owner;  // the bytes go with the task: the decoder copies what stays
  static const Ref no_outer;
  Decoder decoder(bytes, no_owner, no_outer);
  out.positional = decoder.Take<uint32_t>();
  const auto keywords = decoder.Take<uint32_t>();
  out.values.reserve(out.positional + keywords);
  for (size_t i = 0; i < out.positional; ++i) out.values.push_back(DecodeOne(decoder, values));
  if (keywords == 0) return out;
  out.names = Steal(PyTuple_New(keywords));
  for (uint32_t i = 0; i < keywords; ++i) {
    PyTuple_SET_ITEM(out.names.ptr(), i, decoder.Value().release().ptr());
    out.values.push_back(DecodeOne(decoder, values));
  }
  return out;
}

}  // namespace rmpi::python
