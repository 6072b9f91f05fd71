// SPDX-License-Identifier: Apache-2.0
/// \file
/// ray::Wait and what it returns.
#pragma once

#include <ray/api/object_ref.h>

#include <list>
#include <utility>
#include <vector>

namespace ray {
inline namespace v5 {

/// The two halves of what was given to ray::Wait, each in the order given.
template <typename T>
class WaitResult {
 public:
  std::list<ObjectRef<T>>
      ready;  ///< at most num_objects of those whose value (or error) is there, on this node
  std::list<ObjectRef<T>> unready;  ///< all others

  WaitResult() = default;  ///< of no refs
  /// Of these two halves.
  WaitResult(std::list<ObjectRef<T>>&& ready_objects, std::list<ObjectRef<T>>&& unready_objects)
      : ready(std::move(ready_objects)), unready(std::move(unready_objects)) {}
};

/// Waits until `num_objects` of `objects` are ready, for at most `timeout_ms` milliseconds (negative: for
/// ever; 0: only a look). A task that failed is ready. Never throws for a timeout: fewer are ready then.
/// \throws RayException when num_objects is not between 1 and the number of objects, a ref is empty or stands
/// there twice, or there is no session.
template <typename T>
WaitResult<T> Wait(const std::vector<ObjectRef<T>>& objects, int num_objects, int timeout_ms) {
  std::vector<internal::abi::Handle> handles;
  handles.reserve(objects.size());
  for (const ObjectRef<T>& ref : objects) handles.push_back(ref.handle().Checked());
  std::vector<unsigned char> marks(objects.size() + 1);
  internal::Check(internal::GetApi().wait(handles.data(), handles.size(),
                                          num_objects < 0 ? 0 : static_cast<uint64_t>(num_objects),
                                          timeout_ms, marks.data()));
  WaitResult<T> result;
  for (size_t i = 0; i < objects.size(); ++i)
    (marks[i] != 0 ? result.ready : result.unready).push_back(objects[i]);
  return result;
}

}  // namespace v5
}  // namespace ray
