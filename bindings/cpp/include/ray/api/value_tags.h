// SPDX-License-Identifier: Apache-2.0
/// \file
/// The form of values, the same for every language. A value is one contiguous run of bytes wherever it lies:
/// in a message, inline at its owner, in the object store. It is a tag byte and what the tag says; numbers
/// are little endian and unaligned; the data of arrays and of pickle's out-of-band buffers starts at a
/// multiple of 64 bytes from the value's start.
///
///     kNone kTrue kFalse      -
///     kInt8 | kInt64 | kFloat 1 | 8 | 8 bytes
///     kStr                    u32 length, UTF-8
///     kBytes                  u64 length, data
///     kTuple kList            u32 count, values
///     kDict                   u32 count, key and value in turn
///     kRef                    28 bytes: an object id
///     kArray                  dtype character (numpy's), order ('C' or 'F'), u8 dimensions, u64 each,
///     padding, data kPickle                 u32 number of buffers, u64 length of the pickle, u64 length of
///     each buffer, the pickle,
///                             then padding and data of each buffer (Python only)
///     kArgument               u32: the resolved ref at that position (argument lists only)
///     kMsgpack                u64 length, one msgpack value; a ref inside is an extension of type
///     kRefExtension
///                             with the 28 bytes of its id
///     kError                  u64 length, a msgpack map (see below), then perhaps the language's own form of
///     the error
///
/// An argument list: u32 positional count, u32 keyword count, the positional values, name and value of each
/// keyword.
///
/// The map of kError: "language", "function", "task", "type", "message", "host", "pid", "constructor",
/// "text".
#pragma once

#include <cstddef>
#include <cstdint>

namespace ray {
inline namespace v5 {
namespace internal {

enum class Tag : uint8_t {
  kNone = 0,
  kTrue = 1,
  kFalse = 2,
  kInt8 = 3,
  kInt64 = 4,
  kFloat = 5,
  kStr = 6,
  kBytes = 7,
  kTuple = 8,
  kList = 9,
  kDict = 10,
  kRef = 11,
  kArray = 12,
  kPickle = 13,
  kArgument = 14,
  kMsgpack = 64,
  kError = 65,
};

constexpr size_t kDataAlignment = 64;  ///< of array data, counted from the value's start, in bytes
constexpr size_t kRefIdSize = 28;      ///< of an object id, in bytes
constexpr int8_t kRefExtension = 82;   ///< msgpack extension type of a ref
/// msgpack extension type of an actor's handle: the 28 bytes of its id, a byte (1: the calls of one caller
/// start in their order), and the class as Python names it: "cpp:<class>", or a key of Python's own.
constexpr int8_t kActorExtension = 83;

}  // namespace internal
}  // namespace v5
}  // namespace ray
