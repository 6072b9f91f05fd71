// SPDX-License-Identifier: Apache-2.0
// PeerTable: what a Port keeps about each slot of the board, made when it is first touched: a board has
// thousands of slots, and most processes speak with few. What it hands out stays where it is.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace rmpi::lane {

template <class T>
class PeerTable {
 public:
  explicit PeerTable(size_t peers) : size_(peers), blocks_((peers + kBlock - 1) / kBlock) {}

  size_t size() const { return size_; }
  T& operator[](size_t peer) {
    auto& block = blocks_[peer / kBlock];
    if (block == nullptr) [[unlikely]]
      block = std::make_unique<T[]>(kBlock);
    return block[peer % kBlock];
  }
  // Null: never touched.
  const T* Find(size_t peer) const {
    const auto& block = blocks_[peer / kBlock];
    return block == nullptr ? nullptr : &block[peer % kBlock];
  }

 private:
  static constexpr size_t kBlock = 8;

  size_t size_;
  std::vector<std::unique_ptr<T[]>> blocks_;
};

}  // namespace rmpi::lane
