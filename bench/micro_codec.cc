// SPDX-License-Identifier: Apache-2.0
// The wire codec by itself: the two messages of every task, written into a writer that is kept, and read
// back. Argument: bytes of arguments or of the result.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "runtime/message/codec.h"
#include "runtime/message/messages.h"

namespace rmpi {
namespace {

TaskId SomeTask() {
  TaskId task;
  task.owner = {1, 2, 0, 3};
  task.job = JobId{1};
  return task;
}

template <class Message>
void BM_Write(benchmark::State& state, Message message) {
  Writer writer;
  for (auto _ : state) {
    writer.Clear();
    message.Fields(writer);
    benchmark::DoNotOptimize(writer.bytes().data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(writer.size()));
}

template <class Message>
void BM_Read(benchmark::State& state, Message message) {
  Writer writer;
  message.Fields(writer);
  for (auto _ : state) {
    Message read;
    Reader reader(writer.bytes());
    read.Fields(reader);
    if (!reader.Done()) std::abort();
    benchmark::DoNotOptimize(read);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(writer.size()));
}

Push SomePush(int64_t bytes) {
  Push push;
  push.task = SomeTask();
  push.args = Blob::Allocate(static_cast<size_t>(bytes));
  return push;
}

Result SomeResult() {
  Result result;
  result.task = SomeTask();
  result.values.resize(1);
  return result;
}

void BM_WritePush(benchmark::State& state) { BM_Write(state, SomePush(state.range(0))); }
void BM_ReadPush(benchmark::State& state) { BM_Read(state, SomePush(state.range(0))); }
void BM_WriteResult(benchmark::State& state) { BM_Write(state, SomeResult()); }
void BM_ReadResult(benchmark::State& state) { BM_Read(state, SomeResult()); }

BENCHMARK(BM_WritePush)->Arg(64)->Arg(4096);
BENCHMARK(BM_ReadPush)->Arg(64)->Arg(4096);
BENCHMARK(BM_WriteResult);
BENCHMARK(BM_ReadResult);

}  // namespace
}  // namespace rmpi
