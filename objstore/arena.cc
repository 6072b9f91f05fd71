// SPDX-License-Identifier: Apache-2.0
#include "objstore/arena.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>

#include "objstore/numa_bind.h"

#ifndef MADV_POPULATE_READ  // Linux 5.14; older C libraries do not name it
#define MADV_POPULATE_READ 22
#endif

namespace rmpi::objstore {
namespace {

constexpr uint64_t kHugePageBytes = 2 << 20;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Status Resize(int fd, uint64_t bytes) {
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    return Status::Io("object store: ftruncate of the arena's memfd to " + std::to_string(bytes) + " bytes",
                      errno);
  }
  if (::fcntl(fd, F_ADD_SEALS, kSeals) != 0)
    return Status::Io("object store: sealing the arena's memfd", errno);
  return Status::Ok();
}

// A memfd of reserved huge pages, or an invalid one. Creation succeeds even where no huge page is reserved;
// only mmap takes the reservation (which stays with the file), so only mmap can tell.
UniqueFd TryHuge(uint64_t bytes) {
  UniqueFd fd(
      static_cast<int>(::memfd_create("ray-mpi-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB)));
  if (!fd.valid() || !Resize(fd.get(), bytes).ok()) return {};
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (p == MAP_FAILED) return {};
  ::munmap(p, bytes);
  return fd;
}

Status Bind(int fd, uint64_t bytes, const std::string& numa_nodes) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (p == MAP_FAILED) return Status::Io("object store: mmap of the arena to bind it", errno);
  Status status = BindToNumaNodes(p, bytes, numa_nodes);  // the policy stays with the file
  ::munmap(p, bytes);
  return status;
}

}  // namespace

Status Arena::CreateFd(const Options& options, UniqueFd* fd) {
  if (options.bytes < kLeastBytes || options.bytes > uint64_t{1} << 46) {
    return Status::Invalid("object store: an arena of " + std::to_string(options.bytes) +
                           " bytes; give it between 64 KiB and 64 TiB (object_store_memory)");
  }
  if (options.huge_pages) *fd = TryHuge(RoundUp(options.bytes, kHugePageBytes));
  uint64_t bytes = RoundUp(options.bytes, kHugePageBytes);
  if (!fd->valid()) {
    bytes = RoundUp(options.bytes, kLeastBytes);
    fd->reset(static_cast<int>(::memfd_create("ray-mpi-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
    if (!fd->valid()) return Status::Io("object store: memfd_create", errno);
    if (Status s = Resize(fd->get(), bytes); !s.ok()) return s;
  }
  if (!options.numa_nodes.empty()) return Bind(fd->get(), bytes, options.numa_nodes);
  return Status::Ok();
}

Status Arena::Map(int fd, uint32_t segment, std::unique_ptr<Arena>* arena) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return Status::Io("object store: fstat of the arena's memfd", errno);
  const auto bytes = static_cast<uint64_t>(st.st_size);
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || bytes < kLeastBytes) {
    return Status::Invalid("object store: file descriptor " + std::to_string(fd) +
                           " is no sealed memfd of ours; it was passed by a process of another run?");
  }
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (p == MAP_FAILED) {
    return Status::Io("object store: mmap of an arena of " + std::to_string(bytes) +
                          " bytes (is the address space limited, ulimit -v?)",
                      errno);
  }
  ::madvise(p, bytes, MADV_DONTDUMP);  // a core file of a worker must not carry the node's objects
  struct statfs fs;                    // st_blksize would name huge pages where shmem merely may use them
  const bool huge = ::fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
  const auto page_bytes = static_cast<uint64_t>(huge ? fs.f_bsize : ::sysconf(_SC_PAGESIZE));
  if (page_bytes < kHugePageBytes)
    ::madvise(p, bytes, MADV_HUGEPAGE);  // where shmem huge pages are on request
  arena->reset(new Arena(static_cast<std::byte*>(p), bytes, segment, page_bytes));
  return Status::Ok();
}

Arena::Arena(std::byte* base, uint64_t bytes, uint32_t segment, uint64_t page_bytes)
    : base_(base),
      bytes_(bytes),
      segment_(segment),
      page_bytes_(page_bytes),
      // calloc: a large bitmap comes as untouched zero pages
      populated_(static_cast<Word*>(std::calloc(bytes / page_bytes / 64 + 1, sizeof(Word)))) {
  if (populated_ == nullptr) throw std::bad_alloc();
}

Arena::~Arena() { ::munmap(base_, bytes_); }

// The first page from `page` on, before `last`, that is not marked; `last` if there is none.
uint64_t Arena::SkipMarked(uint64_t page, uint64_t last) const {
  while (page < last) {
    const uint64_t missing = ~populated_[page / 64].load(std::memory_order_relaxed) >> (page % 64);
    if (missing != 0) return std::min(page + static_cast<uint64_t>(std::countr_zero(missing)), last);
    page = (page / 64 + 1) * 64;
  }
  return last;
}

void Arena::Mark(uint64_t page, uint64_t last) {
  while (page < last) {
    const uint64_t stop = std::min((page / 64 + 1) * 64, last);
    const uint64_t bits = (~uint64_t{0} >> (64 - (stop - page))) << (page % 64);
    populated_[page / 64].fetch_or(bits, std::memory_order_relaxed);
    page = stop;
  }
}

bool Arena::Populated(uint64_t offset, uint64_t bytes) const {
  const uint64_t last = RoundUp(offset + bytes, page_bytes_) / page_bytes_;
  return bytes == 0 || SkipMarked(offset / page_bytes_, last) == last;
}

// POPULATE_READ, though we are going to write: a shared mapping of shmem gets writable entries from a read
// fault too, and existing pages are mapped in batches (measured on resident pages: read 16 GB/s, write 6
// GB/s, touching 4). On pages that do not exist yet the two are alike.
void Arena::Populate(uint64_t offset, uint64_t bytes) {
  const uint64_t last = std::min(RoundUp(offset + bytes, page_bytes_), bytes_) / page_bytes_;
  for (uint64_t page = offset / page_bytes_; (page = SkipMarked(page, last)) < last;) {
    uint64_t stop = page + 1;  // one call for as many missing pages as lie together
    while (stop < last && !Marked(stop)) ++stop;
    if (::madvise(base_ + page * page_bytes_, (stop - page) * page_bytes_, MADV_POPULATE_READ) != 0) return;
    Mark(page, stop);
    page = stop;
  }
}

}  // namespace rmpi::objstore
