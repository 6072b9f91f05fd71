// SPDX-License-Identifier: Apache-2.0
// The plugin that knows HDF5: makes the skeleton of a spill file, closes it, and never sees it again.
//
// Earliest format, no "latest": of a file whose writer is killed, HDF5 1.10 then opens all that was written
// after the skeleton was closed. Both data sets are allocated at once and never filled, so their places are
// known and nothing but the metadata is written; the file is sparse until objects come.
#include <hdf5.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "objstore/spill/format.h"
#include "objstore/spill/skeleton.h"

namespace rmpi::objstore::spill {
namespace {

constexpr hsize_t kMetadataBlock = 64 << 10;

// Closes what it holds; a negative id is the failure of whoever made it.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() { Close(); }
  bool Close() {
    const hid_t id = id_;
    id_ = -1;
    return id < 0 || close_(id) >= 0;
  }
  bool ok() const { return id_ >= 0; }
  hid_t get() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

hid_t RecordType() {
  const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(IndexRecord));
  const Id text(H5Tcopy(H5T_C_S1), H5Tclose);
  bool good = type >= 0 && text.ok() && H5Tset_size(text.get(), sizeof(IndexRecord::object)) >= 0 &&
              H5Tset_strpad(text.get(), H5T_STR_NULLPAD) >= 0 &&
              H5Tinsert(type, "object", offsetof(IndexRecord, object), text.get()) >= 0;
  const struct {
    const char* name;
    size_t offset;
    hid_t of;
  } fields[] = {{"attempt", offsetof(IndexRecord, attempt), H5T_STD_U32LE},
                {"offset", offsetof(IndexRecord, offset), H5T_STD_U64LE},
                {"size", offsetof(IndexRecord, size), H5T_STD_U64LE},
                {"checksum", offsetof(IndexRecord, checksum), H5T_STD_U64LE},
                {"sequence", offsetof(IndexRecord, sequence), H5T_STD_U64LE},
                {"check", offsetof(IndexRecord, check), H5T_STD_U64LE}};
  for (const auto& field : fields) good = good && H5Tinsert(type, field.name, field.offset, field.of) >= 0;
  if (good) return type;
  if (type >= 0) H5Tclose(type);
  return -1;
}

// A one-dimensional data set that has its place in the file; returns that.
bool MakeDataSet(hid_t file, const char* name, hid_t type, hsize_t count, uint64_t* offset) {
  const Id space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  const Id how(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (!space.ok() || !how.ok() || H5Pset_layout(how.get(), H5D_CONTIGUOUS) < 0 ||
      H5Pset_alloc_time(how.get(), H5D_ALLOC_TIME_EARLY) < 0 ||
      H5Pset_fill_time(how.get(), H5D_FILL_TIME_NEVER) < 0)
    return false;
  Id set(H5Dcreate2(file, name, type, space.get(), H5P_DEFAULT, how.get(), H5P_DEFAULT), H5Dclose);
  if (!set.ok()) return false;
  const haddr_t at = H5Dget_offset(set.get());
  *offset = at;
  return at != HADDR_UNDEF && set.Close();
}

bool Make(const SkeletonRequest& request, SkeletonReply* reply) {
  const Id how(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!how.ok() || !access.ok() || H5Pset_userblock(how.get(), kUserBlockBytes) < 0 ||
      H5Pset_alignment(access.get(), kDataAlignment, kDataAlignment) < 0 ||
      H5Pset_meta_block_size(access.get(), kMetadataBlock) < 0)
    return false;
#if H5_VERSION_GE(1, 10, 7)
  // The file is ours alone, and file systems without locks would refuse. (HDF5_USE_FILE_LOCKING still wins.)
  if (H5Pset_file_locking(access.get(), false, true) < 0) return false;
#endif
  Id file(H5Fcreate(request.path, H5F_ACC_EXCL, how.get(), access.get()), H5Fclose);
  const Id record(file.ok() ? RecordType() : -1, H5Tclose);
  return file.ok() && record.ok() &&
         MakeDataSet(file.get(), kIndexName, record.get(), request.index_records, &reply->index_offset) &&
         MakeDataSet(file.get(), kDataName, H5T_STD_U8LE, request.data_bytes, &reply->data_offset) &&
         file.Close();
}

// HDF5 calls this where a call of ours fails: the innermost error says why. Later ones are consequences.
herr_t NoteInnermost(unsigned n, const H5E_error2_t* error, void* reply) {
  auto* r = static_cast<SkeletonReply*>(reply);
  if (n == 0 && r->error[0] == '\0') std::snprintf(r->error, sizeof r->error, "HDF5: %s", error->desc);
  return 0;
}
herr_t OnError(hid_t stack, void* reply) { return H5Ewalk2(stack, H5E_WALK_UPWARD, NoteInnermost, reply); }

}  // namespace
}  // namespace rmpi::objstore::spill

extern "C" __attribute__((visibility("default"))) int rmpi_make_spill_skeleton(
    const rmpi::objstore::spill::SkeletonRequest* request, rmpi::objstore::spill::SkeletonReply* reply) {
  namespace spill = rmpi::objstore::spill;
  H5Eset_auto2(H5E_DEFAULT, spill::OnError, reply);
  errno = 0;
  const bool made = spill::Make(*request, reply);
  const int error = errno != 0 ? errno : EIO;
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return made ? 0 : error;
}
