// SPDX-License-Identifier: Apache-2.0
// What stands before every message, and the numbers of their types.
#pragma once

#include <cstdint>

#include "runtime/ids/ids.h"

namespace rmpi {

constexpr uint16_t kWireVersion = 1;

enum class MsgType : uint16_t {
  kNone = 0,
  // leases: owner -> raylet (-> GCS -> raylet) -> owner
  kLeaseRequest = 1,
  kGrant = 2,
  kLeaseReturn = 3,
  kReclaim = 4,
  kUnschedulable = 5,
  // tasks: owner <-> executor
  kPush = 16,
  kResult = 17,
  kResultAck = 18,
  kCancel = 19,
  kRevoke = 20,
  kReturned = 21,
  // actors: caller <-> creator, and worker -> creator
  kActorLocate = 24,
  kActorState = 25,
  kActorKill = 26,
  kActorExit = 27,
  // detached ones: creator <-> their owner in the head
  kAdoptActor = 28,
  kAdoptActorReply = 29,
  // references: borrower <-> owner
  kRegister = 32,
  kRegisterReply = 33,
  kUnregister = 34,
  kLocate = 35,
  kLocation = 36,
  kCancelRequest = 37,
  // streams: executor <-> owner, and owner -> raylet
  kItem = 40,
  kItemAck = 41,
  kStreamRead = 42,
  kFreeItems = 43,
  // store: client <-> its raylet
  kExtentRequest = 48,
  kExtentReply = 49,
  kExtentReturn = 50,
  kSealed = 51,
  kFree = 52,
  kPull = 53,
  kPullReply = 54,
  kLocationAdd = 57,
  kLocationDelete = 58,
  kExtentReclaim = 59,
  kLocationCheck = 60,
  kLocationChecked = 61,
  // transfers: raylet <-> raylet
  kPin = 64,
  kPinned = 65,
  kUnpin = 66,
  // spilled objects: raylet -> GCS
  kSpillShared = 67,
  // worker <-> its raylet
  kBlocked = 80,
  kUnblocked = 81,
  kRetire = 82,
  kKillTask = 83,
  kExit = 84,
  kLogLines = 85,
  kJobOver = 86,
  kJobOverReply = 87,
  kStats = 88,
  kStatsReply = 89,
  kCorruptPeer = 90,
  kLogAck = 91,
  // death
  kEof = 96,
  // raylet <-> GCS
  kJoin = 112,
  kJoined = 113,
  kNodeAdded = 114,
  kNodeDead = 115,
  kHeartbeat = 116,
  kHeartbeatAck = 117,
  kDemand = 118,
  kAssign = 119,
  kAssignReject = 120,
  kHandedOff = 121,
  kShutdown = 122,
  kJobStart = 123,
  kJobStartReply = 124,
  kJobEnd = 125,
  kJobEndAck = 126,
  // a node leaves in order: raylet -> GCS -> raylet -> GCS, and its objects' new raylets -> their owners
  kDrainNode = 128,
  kDrained = 129,
  kPrimaryMoved = 130,
  // the same from outside: a command, through a raylet <-> GCS
  kDrainRequest = 131,
  kDrainReply = 132,
  // heartbeats through a tree: raylet -> GCS, GCS -> raylet
  kHeartbeats = 133,
  kReportTo = 134,
  // key/value and cluster state: anyone <-> GCS
  kKvRequest = 144,
  kKvReply = 145,
  kNodesRequest = 146,
  kNodesReply = 147,
  kActorName = 148,
  kActorNameReply = 149,
  // placement groups: anyone <-> GCS <-> raylets
  kGroupRequest = 160,
  kGroupReply = 161,
  kGroupReady = 162,
  kGroupReserve = 163,
  kGroupReserved = 164,
  kGroupRelease = 165,
};

// Stands before every message, on lanes and inside frames.
struct MessageHeader {
  uint16_t type = 0;
  uint16_t version = kWireVersion;
  uint32_t body_bytes = 0;
  Address src;
  Address dst;
};
static_assert(sizeof(MessageHeader) == 32);

}  // namespace rmpi
