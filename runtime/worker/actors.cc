// SPDX-License-Identifier: Apache-2.0
// CoreWorker: actors.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include "runtime/base/host_name.h"
#include "runtime/worker/impl.h"

namespace rmpi {
namespace {

constexpr char kNameTaken[] = "The actor was never started: another one has its name.";
constexpr char kNameUnanswered[] =
    "The actor was never started: the head did not say in time whether its name is free.";

// This process, now.
std::string WhoAndWhen() {
  return fmt::format("pid {} on {} at {:%F %T}", ::getpid(), HostName(), fmt::localtime(std::time(nullptr)));
}

}  // namespace

Status CoreWorker::CreateActor(const TemplateHandle& t, const TaskArgs& args, const ActorOptions& options,
                               Ref* handle, Blob* about) {
  Impl& impl = *impl_;
  Blob bytes = BytesOf(args);
  if (options.detached) return CreateDetached(t, std::move(bytes), args, options, handle, about);
  std::unique_lock<std::mutex> lock(impl.mutex_);
  if (impl.gone_) return Status::Unavailable(kRuntimeGone);
  core::Task* task = impl.NewTask(TaskKind::kActorCreation, *t, std::move(bytes), args);
  Ref mine = impl.Handle(&task->record->first);
  core::ActorOwner& actors = impl.core_.actor_owner();
  actors.Announce(task, {options.name, options.ray_namespace});
  if (!options.name.empty()) {
    ActorName m;
    m.op = ActorNameOp::kRegister;
    m.ray_namespace = options.ray_namespace;
    m.name = options.name;
    m.actor = mine.id();
    m.about = options.about;
    ActorNameReply reply;
    lock.unlock();
    Status s = impl.Call(GcsAddress(), MsgType::kActorName, m, MonotonicNow() + kAnswerPatience, &reply);
    lock.lock();
    if (!s.ok() || reply.found) {
      actors.Abandon(mine.id(), reply.found ? kNameTaken : kNameUnanswered);
      impl.Started(MonotonicNow());
    }
    if (!s.ok()) return s;
    if (reply.found) {
      lock.unlock();
      *about = std::move(reply.about);
      s = Borrow(reply.actor, Ref(), handle);
      return s.ok() ? Status(StatusCode::kExists, "the name is taken") : s;
    }
  }
  const TimeNs now = MonotonicNow();
  actors.Begin(mine.id(), now);
  impl.Started(now);
  lock.unlock();
  *handle = std::move(mine);
  return Status::Ok();
}

// The head makes it, and keeps it from then on.
Status CoreWorker::CreateDetached(const TemplateHandle& t, Blob bytes, const TaskArgs& args,
                                  const ActorOptions& options, Ref* handle, Blob* about) {
  AdoptActor m;
  m.ray_namespace = options.ray_namespace;
  m.name = options.name;
  m.about = options.about;
  m.shape = t->tmpl->shape;
  m.template_bytes = t->tmpl->wire;
  m.max_restarts = t->tmpl->max_retries;
  m.args = std::move(bytes);
  m.top_level = static_cast<uint32_t>(args.refs.size());
  for (const Ref& r : args.refs) m.refs.push_back(r.id());
  for (const Ref& r : args.nested) m.refs.push_back(r.id());
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex_);
    if (impl_->gone_) return Status::Unavailable(kRuntimeGone);
    m.job = impl_->core_.objects().job();
    const core::ExecItem* current = impl_->Current();
    m.depth = current == nullptr ? 0 : current->depth + 1;
  }
  AdoptActorReply reply;
  Status s = impl_->Call(DetachedOwner(), MsgType::kAdoptActor, m, MonotonicNow() + kAnswerPatience, &reply);
  if (!s.ok()) return s;
  if (!reply.refused.empty()) return Status::Unavailable(reply.refused);
  *about = std::move(reply.about);
  s = Borrow(reply.actor, Ref(), handle);
  return s.ok() && reply.taken ? Status(StatusCode::kExists, "the name is taken") : s;
}

Status CoreWorker::Call(const Ref& actor, const TemplateHandle& t, const TaskArgs& args, int64_t max_pending,
                        std::vector<Ref>* returns) {
  Impl& impl = *impl_;
  Blob bytes = BytesOf(args);
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  if (impl.gone_) return Status::Unavailable(kRuntimeGone);
  core::ActorCalls& calls = impl.core_.actor_calls();
  if (max_pending > 0 && calls.pending(actor.id()) >= static_cast<size_t>(max_pending)) {
    return {StatusCode::kFull,
            "The task " + t->tmpl->function_name + " could not be submitted to actor " +
                ActorHex(actor.id()) + ": " + std::to_string(max_pending) +
                " calls of this process are pending there, as many as max_pending_calls allows"};
  }
  core::Task* task = impl.NewTask(TaskKind::kActorCall, *t, std::move(bytes), args);
  impl.TakeReturns(task, returns);
  calls.Start(task, actor.entry());
  impl.HandleOwnMail();  // it may be an actor of ours
  impl.Started(MonotonicNow());
  return Status::Ok();
}

Status CoreWorker::KillActor(const Ref& actor, bool no_restart) {
  Impl& impl = *impl_;
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  if (impl.gone_) return Status::Unavailable(kRuntimeGone);
  impl.Send(actor.id().owner(), MsgType::kActorKill, ::rmpi::ActorKill{actor.id(), no_restart, WhoAndWhen()});
  impl.HandleOwnMail();
  impl.Started(MonotonicNow());
  return Status::Ok();
}

Status CoreWorker::FindActor(const std::string& ray_namespace, const std::string& name, Ref* handle,
                             Blob* about) {
  ActorName m;
  m.ray_namespace = ray_namespace;
  m.name = name;
  ActorNameReply reply;
  Status s = impl_->Call(GcsAddress(), MsgType::kActorName, m, MonotonicNow() + kAnswerPatience, &reply);
  if (!s.ok()) return s;
  if (!reply.found)
    return Status::NotFound("no actor has the name '" + name + "' in namespace '" + ray_namespace + "'");
  *about = std::move(reply.about);
  return Borrow(reply.actor, Ref(), handle);
}

Status CoreWorker::ListActors(const std::string* ray_namespace,
                              std::vector<std::pair<std::string, std::string>>* names) {
  ActorName m;
  m.op = ActorNameOp::kList;
  m.everywhere = ray_namespace == nullptr;
  if (ray_namespace != nullptr) m.ray_namespace = *ray_namespace;
  ActorNameReply reply;
  Status s = impl_->Call(GcsAddress(), MsgType::kActorName, m, MonotonicNow() + kAnswerPatience, &reply);
  if (s.ok()) *names = std::move(reply.names);
  return s;
}

void CoreWorker::ExitActor() {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->core_.executor().ExitActor();
  impl_->exit_requested_ = true;
  impl_->FlushLanes();
  impl_->WakeForNext();
}

ObjectId CoreWorker::actor() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->core_.executor().actor();
}

uint32_t CoreWorker::actor_incarnation() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->core_.executor().incarnation();
}

void CoreWorker::SetConcurrency(uint32_t most, const std::vector<ConcurrencyGroup>& named) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->core_.executor().SetConcurrency(most, named);
}

void CoreWorker::OnCallCancelled(std::function<void(const TaskId&)> fn) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->on_cancel_call_ = std::move(fn);
}

}  // namespace rmpi
