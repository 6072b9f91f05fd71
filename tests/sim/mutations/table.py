# SPDX-License-Identifier: Apache-2.0
"""Deliberate bugs in the protocol: in which file which text, found there once, becomes which. What is guarded twice
needs two edits to be broken."""


class Mutation:
    def __init__(self, name, *edits):
        self.name = name
        self.edits = edits  # (file, old, new)


MUTATIONS = [
    # R3: a RESULT goes before the registrations made for it are acknowledged.
    Mutation(
        "reg_ok_not_awaited",
        ("runtime/core/executor.cc", "if (waiting_results_.empty() && !objects_->Unacknowledged(w.owner, w.upto)) {", "if (waiting_results_.empty()) {"),
    ),
    # R3: the refs inside a result are let go when it is sent, not when it is acknowledged.
    Mutation(
        "result_ack_hold_dropped",
        ("runtime/core/executor.cc", "if (!contained.empty()) held_[{item->task, item->attempt}] = std::move(contained);", "for (Entry* e : contained) objects_->DropHold(e);"),
    ),
    # R3: the acknowledgement goes before the receiver's own registrations with third owners.
    Mutation(
        "result_ack_too_early",
        ("runtime/core/task_table.cc", "if (objects_->Unacknowledged(w.to, w.upto)) return;", ""),
    ),
    # R1
    Mutation(
        "unregister_missing",
        (
            "runtime/core/object_table.cc",
            "    outbox_->Send(e->id.owner(), MsgType::kUnregister, m);\n  }\n  const bool unacknowledged",
            "  }\n  const bool unacknowledged",
        ),
    ),
    # R4: the dead stay in the sets of borrowers.
    Mutation(
        "dead_borrower_kept",
        ("runtime/core/object_refs.cc", "EraseOne(e->details->borrowers, eof.who);", ""),
    ),
    # T6
    Mutation(
        "unclaimed_task_charged",
        ("runtime/core/submitter_ends.cc", "} else if (!claimed && !alive) {", "} else if (false) {"),
    ),
    # T5 and C3: what a former worker answers counts, and frames of a dead node are read.
    Mutation(
        "stale_attempt_accepted",
        ("runtime/core/submitter.cc", "t->attempt == ref.attempt && t->lease->worker == worker;", "(t->attempt == ref.attempt || true);"),
        ("tests/sim/raylet.cc", "gone_nodes_.count(packet.header.src.node) != 0) return;", "gone_nodes_.count(packet.header.src.node) > 1) return;"),
    ),
    # T6: a retry has the number of the attempt that failed.
    Mutation(
        "attempt_not_raised",
        ("runtime/core/task_table.cc", "--t->retries_left;\n  ++t->attempt;", "--t->retries_left;"),
    ),
    # T3: what waits behind a running task is not called back, neither by its worker that blocks nor by its owner.
    Mutation(
        "queued_task_not_called_back",
        ("runtime/core/executor.cc", "blocked_ = true;\n  ReturnTasks(nullptr);", "blocked_ = true;"),
        ("runtime/core/submitter.cc", "lease->load_us += more;\n        RevokeBehind(lease);", "lease->load_us += more;"),
    ),
    # T8: a cancelled task that waits at its worker is run nevertheless.
    Mutation(
        "claim_after_cancel",
        ("runtime/core/executor.cc", "return i.task == m.task && i.attempt == m.attempt; });", "return i.task == m.task && i.attempt == m.attempt + 1000; });"),
    ),
    # C2: the raylet says EOF before it has read the dead process's lane to its end.
    Mutation(
        "eof_before_lanes_are_drained",
        ("tests/sim/raylet.cc", "if (c.dying && drained && world_->now() >= c.informed_at)", "if (c.dying && (drained || true) && world_->now() >= c.informed_at)"),
    ),
    # A2: retried calls go behind those that came after them.
    Mutation(
        "retried_calls_out_of_order",
        ("runtime/core/actor_calls.cc", "TaskTable::ChargeRetry(t))) {\n      PutBack(q, t);", "TaskTable::ChargeRetry(t))) {\n      q->waiting.PushBack(t);"),
    ),
    # R3 for items: the refs inside are let go when the item is sent.
    Mutation(
        "item_ack_hold_dropped",
        ("runtime/core/executor_streams.cc", "if (!contained.empty()) held_[{m.task, m.attempt, m.item}] = std::move(contained);", "for (Entry* e : contained) objects_->DropHold(e);"),
    ),
    # T9: a retry's item takes the place of one that was delivered.
    Mutation(
        "delivered_item_replaced",
        ("runtime/core/stream_owner.cc", "if (e == nullptr || !e->pending()) return false;", "if (e == nullptr) return false;"),
        ("runtime/core/stream_owner.cc", "s->from = s->lost ? *s->lost : s->closed ? kNoItems : s->known;", "s->from = 0;"),
    ),
    # T9: the producer of a stream with a window does not learn that its items are read.
    Mutation(
        "reader_not_told",
        ("runtime/core/stream_owner.cc", "  ++s->read;\n  TellProducer(task, s->read);", "  ++s->read;"),
    ),
    # T9: what came of a stream is not let go when its reader is gone.
    Mutation(
        "closed_stream_kept",
        ("runtime/core/stream_owner.cc", "for (uint32_t i = read; i < top; ++i) objects_->DropHold(objects_->Find(ItemId(task, i)));", ""),
    ),
    # O7: a generator's task is forgotten when it is done, and nothing is left to run again.
    Mutation(
        "items_need_no_lineage",
        ("runtime/core/lineage.cc", "return t->record->stored_items != 0;", "return false;"),
    ),
    # C3: a node that hears nothing from the head goes on for a minute.
    Mutation(
        "actor_restarted_without_fencing",
        ("tests/sim/raylet.cc", "world_->FenceNode(node_);", ""),
    ),
    # C3: time in which the whole job was suspended counts as silence.
    Mutation(
        "suspension_taken_for_silence",
        ("runtime/gcs/gcs.cc", "if (gap > 2 * kCheckPeriod) {", "if (false) {"),
    ),
    # T7: a task that goes on takes no CPU back.
    Mutation(
        "unblocked_without_debt",
        ("sched/local_workers.cc", "PoolOf(record.from).TakeBack(CpuOf(record.resources));  // may be a debt", ""),
    ),
    # C5: the end of a driver is the end of the job of its detached actors.
    Mutation(
        "detached_job_ends_with_driver",
        ("runtime/gcs/gcs.cc", "if (job.start.detached || !gone(job.start.driver)) continue;", "if (!gone(job.start.driver)) continue;"),
    ),
    # A3: a group is created when the first of its nodes has said yes.
    Mutation(
        "group_created_too_early",
        ("runtime/gcs/placement_groups.cc", "if (g.unanswered.empty()) Created(&g, now);", "Created(&g, now);"),
    ),
    # A3: when one node has no room, what the others have reserved is kept.
    Mutation(
        "failed_group_not_released",
        ("runtime/gcs/placement_groups.cc", "    m.group = g->record.group;\n    outbox_->Send(RayletOf(node), MsgType::kGroupRelease, m);", "    m.group = g->record.group;"),
    ),
    # T7: a task of a bundle that waits lends its CPU to the node.
    Mutation(
        "bundle_lends_to_node",
        ("sched/local_workers.cc", "PoolOf(record.from).Lend(CpuOf(record.resources));", "pool_.Lend(CpuOf(record.resources));"),
    ),
    # A node that leaves frees an object before the one that took it keeps it as the primary.
    Mutation(
        "moved_primary_not_named",
        ("runtime/core/object_places.cc", "  std::rotate(places.begin(), at, at + 1);\n", "  if (at == places.end()) places.clear();\n  else places.erase(at);\n"),
    ),
    # O7: an object whose node died is made again, although that node's files have it.
    Mutation(
        "files_of_the_dead_forgotten",
        ("runtime/core/object_places.cc", "    if (left_.contains(node)) {\n      LeaveOnDisk(e, node);\n    } else if (e->owned)", "    if (e->owned)"),
    ),
    # O7: who did not find an object in a dead node's files waits for a word of that node.
    Mutation(
        "dead_node_asked",
        ("runtime/core/object_places.cc", "if (left_.contains(node)) {  // nobody is there to be asked", "if (false) {  //"),
    ),
]
