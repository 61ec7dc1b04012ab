// Part of the stand-in for CUDA: streams, events, graphs. A stream does its work when somebody waits for it, as late as
// CUDA allows, on the thread that waits: what should have been waited for and was not has then not happened.
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "block.h"
#include "host.h"
#include "memory.h"
#include "standin.h"

namespace {

using Work = std::function<cudaError_t()>;

struct Recording {
  std::vector<Work> work;
  bool broken = false, unsafe_calls;
};

}  // namespace

struct CUstream_st {
  std::deque<Work> queue;
  uint64_t issued = 0, done = 0;  // pieces of work
  std::shared_ptr<Recording> recording;
  bool origin = false;            // of the recording

  /// Until `count` pieces are done.
  cudaError_t work_until(uint64_t count) {
    while (done < count && !queue.empty()) {
      const Work work = std::move(queue.front());
      queue.pop_front();
      ++done;
      const cudaError_t error = work();
      if (error == cudaSuccess) continue;
      done += queue.size();  // what comes after an error does not happen
      queue.clear();
      return error;
    }
    return cudaSuccess;
  }
};

struct CUevent_st {
  std::shared_ptr<CUstream_st> stream;  // null before it is recorded
  uint64_t at = 0;
  std::shared_ptr<Recording> recording;
};

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> work;
};

namespace standin {

namespace {

/// Streams that exist; the first stands for null.
std::vector<std::shared_ptr<CUstream_st>>& streams() {
  static auto* const all = new std::vector<std::shared_ptr<CUstream_st>>{std::make_shared<CUstream_st>()};
  return *all;
}

std::shared_ptr<CUstream_st> find(cudaStream_t stream) {
  if (stream == nullptr) return streams()[0];
  for (const auto& s : streams()) {
    if (s.get() == stream) return s;
  }
  return nullptr;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int recordings = 0;  // begun by this thread, of the kinds that forbid calls which may wait

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

/// The last stream first: nobody may rely on the order of streams.
cudaError_t work_all() {
  cudaError_t first = cudaSuccess;
  for (size_t i = streams().size(); i-- > 0;) {
    const auto s = streams()[i];
    const cudaError_t error = s->work_until(s->issued);
    if (first == cudaSuccess) first = error;
  }
  return first;
}

cudaError_t issue(cudaStream_t stream, Work work) {
  const auto s = find(stream);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  if (s->recording != nullptr) {
    s->recording->work.push_back(std::move(work));
    return cudaSuccess;
  }
  s->queue.push_back(std::move(work));
  ++s->issued;
  return stream == nullptr ? work_all() : cudaSuccess;
}

using Lock = std::lock_guard<std::recursive_mutex>;

uint64_t launches = 0;

bool fits(dim3 grid, dim3 threads, size_t shared) {
  const uint64_t count = static_cast<uint64_t>(threads.x) * threads.y * threads.z;
  return grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 && count >= 1 &&
         count <= 1024 && threads.x <= 1024 && threads.y <= 1024 && threads.z <= 64 && shared <= kSharedBytes;
}

}  // namespace

cudaError_t launch(dim3 grid, dim3 threads, size_t shared, const Call& call, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  if (device_count() == 0) return result(cudaErrorNoDevice);
  if (!fits(grid, threads, shared)) return result(cudaErrorInvalidConfiguration);
  // Numbers of sixteen bytes keep the parameters aligned as a compiler may want them.
  const auto bytes = std::make_shared<std::vector<uint4>>((call.bytes + 15) / 16);
  __builtin_memcpy(bytes->data(), call.parameters, call.bytes);
  return result(issue(stream, [=] {
    return run({grid, threads, shared, {call.run, bytes->data(), call.bytes}, ++launches});
  }));
}

}  // namespace standin

using namespace standin;

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(runtime_mutex());
  return result(recordings > 0 ? cudaErrorStreamCaptureUnsupported : work_all());
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const Lock lock(runtime_mutex());
  *memory = nullptr;
  if (device_count() == 0) return result(cudaErrorNoDevice);
  return result(recordings > 0 ? cudaErrorStreamCaptureUnsupported : allocate(memory, bytes));
}

cudaError_t cudaFree(void* memory) {
  const Lock lock(runtime_mutex());
  if (recordings > 0) return result(cudaErrorStreamCaptureUnsupported);
  if (memory == nullptr) return cudaSuccess;
  const cudaError_t error = work_all();
  const cudaError_t released = release(memory);
  return result(error != cudaSuccess ? error : released);
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const Lock lock(runtime_mutex());
  return result(pin(memory, bytes));
}

cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(runtime_mutex());
  if (memory == nullptr) return cudaSuccess;
  const cudaError_t error = work_all();
  const cudaError_t released = unpin(memory);
  return result(error != cudaSuccess ? error : released);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const auto s = find(stream);
  if (s == nullptr || kind == cudaMemcpyDefault) return result(cudaErrorInvalidValue);
  // Of memory that is not pinned the runtime takes a copy before it returns.
  std::shared_ptr<std::vector<char>> taken;
  if (!from_device && !is_pinned(from) && s->recording == nullptr) {
    const char* bytes_from = static_cast<const char*>(from);
    taken = std::make_shared<std::vector<char>>(bytes_from, bytes_from + bytes);
  }
  const cudaError_t error = issue(stream, [=] {
    const void* source = taken != nullptr ? taken->data() : from;
    return copy_bytes(to, source, bytes, to_device, from_device) ? cudaSuccess : cudaErrorInvalidValue;
  });
  if (error != cudaSuccess || to_device || is_pinned(to) || s->recording != nullptr) return result(error);
  return result(s->work_until(s->issued));  // and to such memory it returns when all is there
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Lock lock(runtime_mutex());
  return result(recordings > 0 ? cudaErrorStreamCaptureUnsupported : cudaMemcpyAsync(to, from, bytes, kind, nullptr));
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  return result(issue(stream, [=] { return set_bytes(to, value, bytes) ? cudaSuccess : cudaErrorInvalidValue; }));
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(runtime_mutex());
  if (device_count() == 0) return result(cudaErrorNoDevice);
  streams().push_back(std::make_shared<CUstream_st>());
  *stream = streams().back().get();
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  const auto s = find(stream);
  if (s == nullptr || stream == nullptr) return result(cudaErrorInvalidResourceHandle);
  const cudaError_t error = s->work_until(s->issued);
  std::erase(streams(), s);
  return result(error);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  const auto s = find(stream);
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  if (s->recording != nullptr) {
    s->recording->broken = true;
    return result(cudaErrorStreamCaptureUnsupported);
  }
  return result(s->work_until(s->issued));
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  const auto s = find(stream);
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  // Whoever asks again and again must see an end: each question lets one piece of work happen.
  const cudaError_t error = s->work_until(s->done + 1);
  return error != cudaSuccess ? result(error) : s->done < s->issued ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(runtime_mutex());
  const auto s = find(stream);
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  if (event->recording != nullptr) {
    if (s->recording == nullptr) s->recording = event->recording;
    return s->recording == event->recording ? cudaSuccess : result(cudaErrorStreamCaptureUnsupported);
  }
  if (event->stream == nullptr) return cudaSuccess;
  if (s->recording != nullptr) return result(cudaErrorStreamCaptureUnsupported);
  return result(issue(stream, [other = event->stream, at = event->at] { return other->work_until(at); }));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(runtime_mutex());
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  const auto s = find(stream);
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  event->recording = s->recording;
  event->stream = s->recording != nullptr ? nullptr : s;
  event->at = s->issued;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(runtime_mutex());
  if (event->recording != nullptr) return result(cudaErrorStreamCaptureUnsupported);
  return event->stream == nullptr ? cudaSuccess : result(event->stream->work_until(event->at));
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(runtime_mutex());
  if (event->stream == nullptr || event->stream->done >= event->at) return cudaSuccess;
  const cudaError_t error = event->stream->work_until(event->stream->done + 1);
  return error != cudaSuccess ? result(error) : event->stream->done < event->at ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(runtime_mutex());
  const auto s = find(stream);
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  if (stream == nullptr || s->recording != nullptr) return result(cudaErrorStreamCaptureUnsupported);
  s->recording = std::make_shared<Recording>();
  s->recording->unsafe_calls = mode == cudaStreamCaptureModeRelaxed;
  s->origin = true;
  if (!s->recording->unsafe_calls) ++recordings;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(runtime_mutex());
  *graph = nullptr;
  const auto s = find(stream);
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  const auto recording = s->recording;
  if (recording == nullptr || !s->origin) return result(cudaErrorStreamCaptureUnmatched);
  for (const auto& other : streams()) {
    if (other->recording == recording) other->recording = nullptr;
  }
  s->origin = false;
  if (!recording->unsafe_calls) --recordings;
  if (recording->broken) return result(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{std::move(recording->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* graph, cudaGraph_t from, unsigned long long) {
  *graph = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(from->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  return result(issue(stream, [all = graph->work] {
    for (const Work& work : *all) {
      if (const cudaError_t error = work(); error != cudaSuccess) return error;
    }
    return cudaSuccess;
  }));
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
