// SPDX-License-Identifier: Apache-2.0
// Every message of the control plane. The order of a struct's Fields is its wire layout (docs/wire.md).
// Who sends what to whom, and why, is told in docs/design.md; here each group names its direction.
#pragma once

#include "runtime/message/actor_messages.h"
#include "runtime/message/group_messages.h"
#include "runtime/message/header.h"
#include "runtime/message/lease_messages.h"
#include "runtime/message/node_messages.h"
#include "runtime/message/reference_messages.h"
#include "runtime/message/store_messages.h"
#include "runtime/message/task_messages.h"
#include "runtime/message/values.h"
#include "runtime/message/worker_messages.h"
