// SPDX-License-Identifier: Apache-2.0
/// \file
/// View: read access to the numbers or bytes of a value where they lie, without a copy.
#pragma once

#include <ray/api/ray_exception.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace ray {
inline namespace v5 {

/// Elements in a row, read-only. A View that came out of an object keeps the object's memory in place, in the
/// object store of this node, for as long as it or a copy of it lives; it stays valid when the ObjectRef is
/// dropped and when the task ends. Copies are cheap and share the memory. A View made of a pointer owns
/// nothing.
///
/// As a parameter of a remote function it takes what std::vector<T> would take (for bytes also std::string,
/// and Python's bytes; for numbers numpy arrays of the same element type), and costs no copy of large values.
template <typename T>
class View {
 public:
  using value_type = T;             ///< of the elements
  using const_iterator = const T*;  ///< a plain pointer

  View() = default;  ///< of no elements
  /// Elements that somebody else owns, e.g. to hand them to ray::Put.
  View(const T* data, size_t size) : data_(data), size_(size) {}
  /// The same with dimensions, slowest first (their product is `size`), and with what keeps the memory in
  /// place.
  View(const T* data, size_t size, std::vector<size_t> shape, std::shared_ptr<const void> owner)
      : data_(data), size_(size), shape_(std::move(shape)), owner_(std::move(owner)) {}
  /// Elements that it owns from now on, e.g. as the result of a remote function: with two extents in `shape`,
  /// whose product is their count, they are a matrix for Python. \throws RayException for another count.
  explicit View(std::vector<T> elements, std::vector<size_t> shape = {})
      : size_(elements.size()), shape_(std::move(shape)) {
    const size_t count =
        std::accumulate(shape_.begin(), shape_.end(), size_t{1}, [](size_t a, size_t b) { return a * b; });
    if (!shape_.empty() && count != size_) {
      throw RayException("ray::View: the shape has " + std::to_string(count) + " elements, the vector " +
                         std::to_string(size_));
    }
    const auto owner = std::make_shared<const std::vector<T>>(std::move(elements));
    data_ = owner->data();
    owner_ = owner;
  }

  const T* data() const { return data_; }                   ///< the first element
  size_t size() const { return size_; }                     ///< in elements
  bool empty() const { return size_ == 0; }                 ///< whether there are none
  const T* begin() const { return data_; }                  ///< the first element
  const T* end() const { return data_ + size_; }            ///< behind the last one
  const T& operator[](size_t i) const { return data_[i]; }  ///< not checked: i must be below size()
  const T& front() const { return data_[0]; }               ///< of a View that is not empty
  const T& back() const { return data_[size_ - 1]; }        ///< of a View that is not empty

  /// The extent of each dimension, slowest first, e.g. {3, 4} of a numpy array of 3 rows. What has no
  /// dimensions of its own (a vector, a string) has one.
  std::vector<size_t> shape() const { return shape_.empty() ? std::vector<size_t>{size_} : shape_; }

 private:
  const T* data_ = nullptr;
  size_t size_ = 0;
  std::vector<size_t> shape_;
  std::shared_ptr<const void> owner_;
};

/// Bytes of an object where they lie. ray::PutBuffer makes them there.
using Buffer = View<std::byte>;

}  // namespace v5
}  // namespace ray
