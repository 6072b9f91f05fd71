// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/spill_io.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <numeric>
#include <utility>

namespace rmpi::objstore::spill {
namespace {

constexpr uint64_t kReadTogether = 1 << 20;

}  // namespace

SpillIo::SpillIo(Options options)
    : options_(std::move(options)), shared_(options_.folders.size()), skeletons_(options_.hdf5_plugin) {}

SpillIo::~SpillIo() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  more_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void SpillIo::Queue(std::deque<std::function<void()>>* queue, std::function<void()> job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue->push_back(std::move(job));
  }
  more_.notify_one();
  if (!threads_.empty()) return;
  sigset_t all, before;  // signals are for the main thread
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  for (size_t i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this] {
      pthread_setname_np(pthread_self(), "rmpi-spill");
      Work();
    });
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void SpillIo::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    more_.wait(lock, [this] { return stopping_ || !reads_.empty() || !writes_.empty(); });
    if (stopping_) return;
    auto& queue = reads_.empty() ? writes_ : reads_;
    const std::function<void()> job = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

void SpillIo::Write(WriteJob job) {
  Queue(&writes_, [this, job = std::move(job)]() mutable {
    Status status = DoWrite(&job);
    Tell([&] { done_.written.push_back({std::move(job), std::move(status)}); });
  });
}

void SpillIo::Tell(const std::function<void()>& note) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    note();
  }
  options_.wake();
}

// Large objects are read side by side, small ones one behind the other by one thread.
void SpillIo::Read(const std::vector<ReadJob>& jobs) {
  std::vector<Reading> together;
  uint64_t bytes = 0;
  for (const ReadJob& job : jobs) {
    together.emplace_back(job, FileOf(job.file));
    bytes += job.size;
    if (bytes < kReadTogether && &job != &jobs.back()) continue;
    Queue(&reads_, [this, together = std::exchange(together, {})] { ReadAll(together); });
    bytes = 0;
  }
}

void SpillIo::ReadAll(const std::vector<Reading>& readings) {
  for (const Reading& reading : readings) {
    Status status = DoRead(reading);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done_.restored.push_back({reading.first.request, std::move(status)});
    }
    if (&reading == &readings.front() || &reading == &readings.back()) options_.wake();
  }
}

void SpillIo::Remove(uint64_t file) {
  Queue(&writes_, [this, file] {
    std::shared_ptr<OpenFile> open;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto it = files_.find(file);
      if (it == files_.end()) return;
      open = std::move(it->second);
      files_.erase(it);
    }
    const std::lock_guard<std::mutex> lock(open->making);
    if (open->file) ::unlink(open->file->path().c_str());
  });
}

SpillIo::Done SpillIo::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(done_, {});
}

// Whatever is there that is of this run and that node, as far as it can be read. Nobody writes to it.
void SpillIo::ListLeft(uint32_t node, const std::vector<std::string>& folders) {
  Queue(&reads_, [this, node, folders] {
    Listing found{node, {}};
    for (const std::string& folder : folders) {
      std::error_code error;
      // Not a range: going on may fail, too, where the file system is a network's.
      for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
           entry.increment(error)) {
        if (entry->path().extension() != ".h5") continue;
        std::unique_ptr<SpillFile> file;
        Index index;
        if (!SpillFile::Open(entry->path(), &file).ok() || file->header().node != node ||
            file->header().run != options_.run || !file->ReadIndex(&index).ok())
          continue;
        found.files.push_back({std::move(file), std::move(index.objects)});
      }
    }
    Tell([&] { done_.listings.push_back(std::move(found)); });
  });
}

void SpillIo::ReadLeft(const std::shared_ptr<const SpillFile>& file, const ReadJob& job) {
  Queue(&reads_, [this, file, job] {
    options_.arena->Populate(job.arena_offset, job.size);
    Status status = file->Read(job.offset, job.checksum, {options_.arena->data(job.arena_offset), job.size});
    Tell([&] { done_.restored.push_back({job.request, std::move(status), true}); });
  });
}

std::shared_ptr<SpillIo::OpenFile> SpillIo::FileOf(uint64_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& open = files_[number];
  if (!open) open = std::make_shared<OpenFile>();
  return open;
}

Status SpillIo::MakeFile(const WriteJob& job, OpenFile* open) {
  const std::lock_guard<std::mutex> lock(open->making);
  if (open->file) return Status::Ok();
  const std::string& folder = options_.folders.at(job.file.tier);
  if (::mkdir(folder.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return Status::Io("cannot make the folder for spilled objects " + folder, errno);
  }
  const std::string path =
      folder + "/" + std::to_string(options_.node) + "-" + std::to_string(job.file.number) + ".h5";
  const std::lock_guard<std::mutex> one_at_a_time(making_skeleton_);
  return SpillFile::Create(path,
                           {options_.node, options_.run, job.file.number, job.data_bytes, job.index_records},
                           &skeletons_, &open->file);
}

// What a move is to write elsewhere, checked.
Status SpillIo::ReadMoved(const WriteJob& job, std::vector<std::byte>* bytes) {
  const std::shared_ptr<OpenFile> from = FileOf(job.from_file);
  bytes->resize(std::accumulate(job.items.begin(), job.items.end(), size_t{0},
                                [](size_t sum, const WriteJob::Item& item) { return sum + item.size; }));
  std::byte* to = bytes->data();
  for (size_t i = 0; i < job.items.size(); ++i) {
    const WriteJob::Item& item = job.items[i];
    if (Status s = from->file->Read(job.from_offsets[i], item.checksum, {to, item.size}); !s.ok()) return s;
    to += item.size;
  }
  return Status::Ok();
}

Status SpillIo::DoWrite(WriteJob* job) {
  const std::shared_ptr<OpenFile> open = FileOf(job->file.number);
  if (Status s = MakeFile(*job, open.get()); !s.ok()) return s;
  std::vector<std::byte> moved;
  if (job->from_file != 0) {
    if (Status s = ReadMoved(*job, &moved); !s.ok()) return s;
  }
  std::vector<Piece> pieces;
  const std::byte* from = moved.data();
  for (const WriteJob::Item& item : job->items) {
    const std::byte* bytes = job->from_file != 0 ? from : options_.arena->data(item.arena_offset);
    from += item.size;
    pieces.push_back({item.version.id, item.version.attempt, item.offset, {bytes, item.size}, 0});
  }
  Status s = open->file->Write(pieces, job->first_record);
  if (s.ok() && shared_[job->file.tier]) s = open->file->Sync();
  for (size_t i = 0; i < pieces.size(); ++i) job->items[i].checksum = pieces[i].checksum;
  return s;
}

Status SpillIo::DoRead(const Reading& reading) {
  const auto& [job, open] = reading;
  if (!open->file) return Status::NotFound("a spill file that is gone");
  options_.arena->Populate(job.arena_offset, job.size);
  return open->file->Read(job.offset, job.checksum, {options_.arena->data(job.arena_offset), job.size});
}

}  // namespace rmpi::objstore::spill
