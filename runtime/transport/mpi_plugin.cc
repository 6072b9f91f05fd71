// SPDX-License-Identifier: Apache-2.0
// The plugin's entry point: MPI_Init, the only collectives of the run (version check, secret, listener
// ports), and the transport over a communicator of its own.
#include <mpi.h>
#include <sched.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/transport/mpi.h"
#include "runtime/transport/mpi_quiet.h"
#include "runtime/transport/mpi_transport.h"
#include "runtime/transport/pmix_fence.h"

namespace rmpi {
namespace {

struct Hello {
  uint32_t protocol;
  char version[60];
  char host[64];
};

struct Verdict {
  uint8_t accepted;
  RunSecret secret;
  char message[1023];
};

using Ports = std::array<uint16_t, 4>;  // IPv4 and IPv6, and room for what a later Open MPI adds

void CopyText(char* to, size_t size, const std::string& text) {
  const size_t n = std::min(text.size(), size - 1);
  std::memcpy(to, text.data(), n);
  to[n] = '\0';
}

std::string MpiError(int code) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<size_t>(length));
}

// How many ranks the launcher says there are; 0 when it does not say.
int ExpectedSize() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    if (const char* text = getenv(name)) return atoi(text);
  }
  return 0;
}

// All of MPI's traffic goes through sockets that we can find. True for Open MPI as the loader sets
// it; whoever sets other transports, and another MPI, gets a timer that backs off instead.
bool TrafficIsOnSockets() {
#ifdef OPEN_MPI
  const char* pml = getenv("OMPI_MCA_pml");
  const char* btl = getenv("OMPI_MCA_btl");
  if (pml == nullptr || btl == nullptr || std::strcmp(pml, "ob1") != 0) return false;
  const std::string list = btl;
  return list == "self,tcp" || list == "tcp,self" || list == "tcp";
#else
  return false;
#endif
}

// Rank 0 compares what all ranks say.
Verdict Judge(const std::vector<Hello>& all) {
  Verdict v{};
  v.accepted = 1;
  for (size_t r = 1; r < all.size(); ++r) {
    if (all[r].protocol == all[0].protocol && std::strcmp(all[r].version, all[0].version) == 0) continue;
    v.accepted = 0;
    snprintf(
        v.message, sizeof(v.message),
        "rank %zu on %s runs ray-mpi %s, but rank 0 on %s runs %s: all ranks must run the same build; check "
        "PATH, modules and container images on these hosts",
        r, all[r].host, all[r].version, all[0].host, all[0].version);
    return v;
  }
  if (getrandom(v.secret.data(), v.secret.size(), 0) != static_cast<ssize_t>(v.secret.size())) {
    v.accepted = 0;
    CopyText(v.message, sizeof(v.message), "getrandom failed on rank 0: cannot make the run's secret");
  }
  return v;
}

// The head and each rank learn which of their sockets is their connection: by one message there and back,
// which makes it, and by a comparison of addresses.
constexpr int kGreetTag = 2;
using Mask = std::array<uint8_t, 64>;

int GreetHead(MPI_Comm comm, MpiSockets* sockets) {
  char byte = 0;
  int rc = MPI_Sendrecv_replace(&byte, 1, MPI_BYTE, 0, kGreetTag, 0, kGreetTag, comm, MPI_STATUS_IGNORE);
  if (rc != MPI_SUCCESS) return rc;
  std::vector<MpiSockets::Ends> mine = sockets->Connections();
  mine.resize(std::min(mine.size(), std::tuple_size_v<Mask>));
  const int bytes = static_cast<int>(mine.size() * sizeof(MpiSockets::Ends));
  rc = MPI_Send(mine.data(), bytes, MPI_BYTE, 0, kGreetTag, comm);
  if (rc != MPI_SUCCESS) return rc;
  Mask mask{};
  rc = MPI_Recv(mask.data(), sizeof(mask), MPI_BYTE, 0, kGreetTag, comm, MPI_STATUS_IGNORE);
  if (rc != MPI_SUCCESS) return rc;
  std::vector<MpiSockets::Ends> heads;
  for (size_t i = 0; i < mine.size(); ++i) {
    if (mask[i] != 0) heads.push_back({mine[i].remote, mine[i].local});
  }
  sockets->Assign(heads, 0);
  return MPI_SUCCESS;
}

int GreetRank(MPI_Comm comm, MpiSockets* sockets, int rank) {
  std::vector<MpiSockets::Ends> theirs(std::tuple_size_v<Mask>);
  MPI_Status status;
  const int room = static_cast<int>(theirs.size() * sizeof(MpiSockets::Ends));
  int rc = MPI_Recv(theirs.data(), room, MPI_BYTE, rank, kGreetTag, comm, &status);
  if (rc != MPI_SUCCESS) return rc;
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  theirs.resize(static_cast<size_t>(bytes) / sizeof(MpiSockets::Ends));
  Mask mask{};
  const std::vector<bool> ours = sockets->Assign(theirs, rank);
  std::copy(ours.begin(), ours.end(), mask.begin());
  return MPI_Send(mask.data(), sizeof(mask), MPI_BYTE, rank, kGreetTag, comm);
}

int Greet(MPI_Comm comm, int rank, int size, MpiSockets* sockets) {
  if (rank != 0) return GreetHead(comm, sockets);
  int rc = MPI_SUCCESS;
  for (int r = 1; r < size && rc == MPI_SUCCESS; ++r) {
    char byte = 0;
    rc = MPI_Sendrecv_replace(&byte, 1, MPI_BYTE, r, kGreetTag, r, kGreetTag, comm, MPI_STATUS_IGNORE);
  }
  sockets->Connections();  // the new ones are looked up
  for (int r = 1; r < size && rc == MPI_SUCCESS; ++r) rc = GreetRank(comm, sockets, r);
  return rc;
}

Status Exchange(MPI_Comm comm, const std::string& version, const std::vector<uint16_t>& own_ports,
                MpiSockets* sockets, MpiLaunch* out) {
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  Hello hello{};
  hello.protocol = kTransportProtocol;
  CopyText(hello.version, sizeof(hello.version), version);
  gethostname(hello.host, sizeof(hello.host) - 1);
  std::vector<Hello> all(rank == 0 ? static_cast<size_t>(size) : 0);
  int rc = MPI_Gather(&hello, sizeof(hello), MPI_BYTE, all.data(), sizeof(hello), MPI_BYTE, 0, comm);
  if (rc != MPI_SUCCESS) return Status::Unavailable("bring-up: MPI_Gather failed: " + MpiError(rc));
  Verdict verdict{};
  if (rank == 0) verdict = Judge(all);
  rc = MPI_Bcast(&verdict, sizeof(verdict), MPI_BYTE, 0, comm);
  if (rc != MPI_SUCCESS) return Status::Unavailable("bring-up: MPI_Bcast failed: " + MpiError(rc));
  if (!verdict.accepted) return Status::Invalid(verdict.message);
  out->secret = verdict.secret;
  for (const Hello& h : all) out->hosts.emplace_back(h.host);
  Ports own{};
  std::copy_n(own_ports.begin(), std::min(own_ports.size(), own.size()), own.begin());
  std::vector<uint16_t> ports(static_cast<size_t>(size) * own.size());
  rc = MPI_Allgather(own.data(), sizeof(own), MPI_BYTE, ports.data(), sizeof(own), MPI_BYTE, comm);
  if (rc != MPI_SUCCESS) return Status::Unavailable("bring-up: MPI_Allgather failed: " + MpiError(rc));
  sockets->SetAllPorts(ports);
  rc = Greet(comm, rank, size, sockets);
  if (rc != MPI_SUCCESS)
    return Status::Unavailable("bring-up: the head and a rank did not meet: " + MpiError(rc));
  return Status::Ok();
}

Status BringUp(MpiBringUp* args) {
  const int expected = ExpectedSize();  // before MPI_Init, which sets some of these itself
  auto sockets = std::make_unique<MpiSockets>();
  cpu_set_t mask;
  const bool have_mask = sched_getaffinity(0, sizeof(mask), &mask) == 0;

  int provided = MPI_THREAD_SINGLE;
  int rc = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (rc != MPI_SUCCESS) return Status::Unavailable("MPI_Init_thread failed: " + MpiError(rc));
  if (have_mask)
    sched_setaffinity(0, sizeof(mask), &mask);  // MPI may bind; who shares CPUs out is ours to say
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);

  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size == 1 && expected > 1) {
    return Status::Unavailable(
        "MPI sees one rank where the launcher started " + std::to_string(expected) +
        ": its PMI plugin does not match this MPI; use srun --mpi=pmix (srun --mpi=list "
        "shows what there is)");
  }
  WaitForRanksUnderSlurm();
  MPI_Comm comm = MPI_COMM_NULL;
  rc = MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  if (rc != MPI_SUCCESS) return Status::Unavailable("MPI_Comm_dup failed: " + MpiError(rc));
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);

  const std::vector<uint16_t> ports = sockets->FindListeners();
  const bool sleepable = TrafficIsOnSockets() && !ports.empty() && ports.size() <= Ports().size();
  const Status status = Exchange(comm, args->own_version, ports, sockets.get(), &args->launch);
  if (!status.ok()) return status;

  SilencePagesAboutDeadPeers();
  char library[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(library, &length);
  args->launch.version_info.assign(library, static_cast<size_t>(length));
  args->launch.transport = std::make_unique<MpiTransport>(comm, std::move(sockets), sleepable);
  return Status::Ok();
}

}  // namespace
}  // namespace rmpi

extern "C" __attribute__((visibility("default"))) void RayMpiBringUp(rmpi::MpiBringUp* args) {
  args->status = rmpi::BringUp(args);
}
