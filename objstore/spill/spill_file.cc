// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/spill_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "objstore/locator.h"
#include "objstore/spill/checksum.h"

namespace rmpi::objstore::spill {
namespace {

constexpr size_t kChunkBytes = 4 << 20;   // of one system call
constexpr size_t kReadBytes = 256 << 10;  // and of a read: its checksum is made while it is in the cache
constexpr size_t kChunkParts = 512;
constexpr size_t kListRecords = 4096;  // read at a time
constexpr std::array<std::byte, kGroupAlignment> kPadding{};

uint64_t CheckOf(const Header& h) { return XXH3_64bits(&h, offsetof(Header, check)); }
uint64_t CheckOf(const IndexRecord& r, const Header& h) {
  return XXH3_64bits_withSeed(&r, offsetof(IndexRecord, check), h.check);
}

bool FromHex(std::span<const char> text, ObjectId* id) {
  std::string binary;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    int value = 0;
    for (const char c : {text[i], text[i + 1]}) {
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) return false;
      value = value * 16 + digit;
    }
    binary.push_back(static_cast<char>(value));
  }
  return FromBinary(binary, id);
}

// Gathers what lies one behind the other in the file into few large writes.
class Gatherer {
 public:
  Gatherer(int fd, uint64_t at) : fd_(fd), at_(at) {}
  // 0, or the errno.
  int Add(const std::byte* bytes, size_t size) {
    while (size > 0) {
      const size_t n = std::min(size, kChunkBytes - gathered_);
      parts_.push_back({const_cast<std::byte*>(bytes), n});
      gathered_ += n;
      bytes += n;
      size -= n;
      if (gathered_ < kChunkBytes && parts_.size() < kChunkParts) continue;
      if (const int error = Flush(); error != 0) return error;
    }
    return 0;
  }
  int Flush() {
    size_t next = 0;
    while (next < parts_.size()) {
      const ssize_t n =
          pwritev(fd_, parts_.data() + next, static_cast<int>(parts_.size() - next), static_cast<off_t>(at_));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return n < 0 ? errno : ENOSPC;
      at_ += static_cast<uint64_t>(n);
      for (auto left = static_cast<size_t>(n); left > 0;) {
        const size_t taken = std::min(left, parts_[next].iov_len);
        parts_[next].iov_base = static_cast<std::byte*>(parts_[next].iov_base) + taken;
        parts_[next].iov_len -= taken;
        left -= taken;
        if (parts_[next].iov_len == 0) ++next;
      }
    }
    parts_.clear();
    gathered_ = 0;
    return 0;
  }

 private:
  const int fd_;
  uint64_t at_;
  std::vector<iovec> parts_;
  size_t gathered_ = 0;
};

Status ReadFully(int fd, std::byte* to, size_t size, uint64_t at, const std::string& path) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = pread(fd, to + done, size - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::Io("cannot read the spill file " + path, errno);
    if (n == 0) {
      return Status::Corrupt("the spill file " + path + " ends at byte " + std::to_string(at + done) +
                             ": it was cut");
    }
    done += static_cast<size_t>(n);
  }
  return Status::Ok();
}

}  // namespace

Status SpillFile::Failed(const char* what, int error) const {
  const std::string text = std::string("cannot ") + what + " the spill file " + path_;
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) return Status::Io(text, error);
  return Status::OutOfDisk(
      text + ": " + std::strerror(error) +
      ". Free some space there, or name another folder with --object-spilling-directory");
}

Status SpillFile::Create(const std::string& path, const Shape& shape, Skeletons* skeletons,
                         std::unique_ptr<SpillFile>* out) {
  SkeletonReply made;
  Status s = skeletons->Make({path.c_str(), shape.data_bytes, shape.index_records}, &made);
  if (!s.ok()) {
    if (s.code() == StatusCode::kIo || s.code() == StatusCode::kOutOfDisk) ::unlink(path.c_str());
    return s;
  }
  std::unique_ptr<SpillFile> file(new SpillFile(path, UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC))));
  Header& h = file->header_;
  h.node = shape.node;
  h.run = shape.run;
  h.number = shape.number;
  h.data_offset = made.data_offset;
  h.data_bytes = shape.data_bytes;
  h.index_offset = made.index_offset;
  h.index_records = shape.index_records;
  h.record_bytes = sizeof(IndexRecord);
  h.check = CheckOf(h);
  if (!file->fd_.valid() || ::fchmod(file->fd_.get(), S_IRUSR | S_IWUSR) != 0) {
    s = file->Failed("open", errno);
  } else {
    s = file->WriteAt(&h, sizeof h, 0);
  }
  if (!s.ok()) {
    ::unlink(path.c_str());
    return s;
  }
  *out = std::move(file);
  return s;
}

Status SpillFile::Open(const std::string& path, std::unique_ptr<SpillFile>* out) {
  std::unique_ptr<SpillFile> file(new SpillFile(path, UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC))));
  struct stat info {};
  if (!file->fd_.valid() || ::fstat(file->fd_.get(), &info) != 0) return file->Failed("open", errno);
  Header& h = file->header_;
  const Status s = ReadFully(file->fd_.get(), reinterpret_cast<std::byte*>(&h), sizeof h, 0, path);
  if (s.code() == StatusCode::kIo) return s;
  if (!s.ok() || h.magic != kMagic) {
    return Status::Invalid(path + " is no spill file of ray-mpi: it does not begin with RMPISPL1");
  }
  if (h.version != kFormatVersion || h.record_bytes != sizeof(IndexRecord)) {
    return Status::Invalid(path + " is a spill file of another version of ray-mpi (format " +
                           std::to_string(h.version) + ")");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  const uint64_t index_bytes = uint64_t{h.index_records} * sizeof(IndexRecord);
  const bool fits = h.check == CheckOf(h) && h.index_records <= kMaxRecords && h.index_offset <= size &&
                    index_bytes <= size - h.index_offset && h.data_offset <= size &&
                    h.data_bytes <= size - h.data_offset;
  if (!fits)
    return Status::Corrupt("the spill file " + path + " is damaged, or was cut: its header does not fit");
  *out = std::move(file);
  return Status::Ok();
}

Status SpillFile::WriteAt(const void* bytes, size_t size, uint64_t at) {
  Gatherer out(fd_.get(), at);
  int error = out.Add(static_cast<const std::byte*>(bytes), size);
  if (error == 0) error = out.Flush();
  return error == 0 ? Status::Ok() : Failed("write", error);
}

Status SpillFile::WriteData(std::span<Piece> pieces) {
  Gatherer out(fd_.get(), header_.data_offset + pieces.front().offset);
  uint64_t at = pieces.front().offset;
  int error = 0;
  for (Piece& p : pieces) {
    const uint64_t padding = p.offset - at;
    if (p.offset < at || padding > kPadding.size() || p.offset + p.bytes.size() > header_.data_bytes) {
      return Status::Internal("pieces that do not lie one behind the other in the spill file " + path_);
    }
    p.checksum = ChecksumOf(p.bytes);
    error = out.Add(kPadding.data(), padding);
    if (error == 0) error = out.Add(p.bytes.data(), p.bytes.size());
    if (error != 0) return Failed("write", error);
    at = p.offset + p.bytes.size();
  }
  error = out.Flush();
  return error == 0 ? Status::Ok() : Failed("write", error);
}

Status SpillFile::Write(std::span<Piece> pieces, uint32_t first_record) {
  if (pieces.empty()) return Status::Ok();
  if (pieces.size() > header_.index_records || first_record > header_.index_records - pieces.size()) {
    return Status::Internal("more records than the index of the spill file " + path_ + " has");
  }
  if (Status s = WriteData(pieces); !s.ok()) return s;
  std::vector<IndexRecord> records(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    IndexRecord& r = records[i];
    Hex(pieces[i].id).copy(r.object.data(), r.object.size());
    r.attempt = pieces[i].attempt;
    r.offset = pieces[i].offset;
    r.size = pieces[i].bytes.size();
    r.checksum = pieces[i].checksum;
    r.sequence = first_record + i + 1;
    r.check = CheckOf(r, header_);
  }
  return WriteAt(records.data(), records.size() * sizeof(IndexRecord),
                 header_.index_offset + uint64_t{first_record} * sizeof(IndexRecord));
}

Status SpillFile::Read(uint64_t offset, uint64_t checksum, std::span<std::byte> to) const {
  if (offset > header_.data_bytes || to.size() > header_.data_bytes - offset) {
    return Status::Corrupt("an object that lies outside of the spill file " + path_);
  }
  Checksum sum;
  for (size_t done = 0; done < to.size();) {
    const auto part = to.subspan(done, std::min(kReadBytes, to.size() - done));
    const Status s =
        ReadFully(fd_.get(), part.data(), part.size(), header_.data_offset + offset + done, path_);
    if (!s.ok()) return s;
    sum.Add(part);
    done += part.size();
  }
  if (sum.Value() == checksum) return Status::Ok();
  return Status::Corrupt("the spill file " + path_ + " is damaged: " + std::to_string(to.size()) +
                         " bytes at " + std::to_string(header_.data_offset + offset) +
                         " are not those that were written there");
}

Status SpillFile::Sync() { return ::fsync(fd_.get()) == 0 ? Status::Ok() : Failed("sync", errno); }

Status SpillFile::ReadIndex(Index* out) const {
  std::vector<IndexRecord> records;
  for (uint64_t first = 0; first < header_.index_records; first += kListRecords) {
    records.resize(std::min<uint64_t>(kListRecords, header_.index_records - first));
    const Status s = ReadFully(fd_.get(), reinterpret_cast<std::byte*>(records.data()),
                               records.size() * sizeof(IndexRecord),
                               header_.index_offset + first * sizeof(IndexRecord), path_);
    if (!s.ok()) return s;
    for (size_t i = 0; i < records.size(); ++i) {
      const IndexRecord& r = records[i];
      static constexpr IndexRecord kNever{};
      if (std::memcmp(&r, &kNever, sizeof r) == 0) continue;
      Listed listed{{}, r.attempt, r.offset, r.size, r.checksum, r.sequence};
      const bool valid = r.check == CheckOf(r, header_) && r.sequence == first + i + 1 &&
                         r.offset <= header_.data_bytes && r.size <= header_.data_bytes - r.offset &&
                         FromHex(r.object, &listed.id);
      if (valid) {
        out->objects.push_back(listed);
      } else {
        ++out->torn;
      }
    }
  }
  return Status::Ok();
}

}  // namespace rmpi::objstore::spill
