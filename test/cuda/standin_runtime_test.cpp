// The stand-in's runtime: memory that runs out, graphs, streams that do not wait for each other by themselves, limits of a
// launch, devices.
#include <csignal>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "found.h"
#include "gpu.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

using namespace thaw::cuda;

namespace {

__global__ void add(float* y, const float* x, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) y[i] += x[i];
}

void graphs() {
  const gpu::Array<float> x(std::vector<float>(100, 2.0f)), y(std::vector<float>(100, 1.0f));
  thaw::GpuGraph* graph = nullptr;
  gpu::demand(gpu::backend().record_begin());
  launch(add, 2, 64, 0, y.data(), x.data(), 100);
  launch(add, 1, 64, 0, y.data(), x.data(), 50);
  void* memory = nullptr;
  CHECK(gpu::backend().allocate(100, &memory) != nullptr && memory == nullptr);  // not while recording
  gpu::demand(gpu::backend().record_end(&graph));
  FINISH();
  CHECK(y.read()[0] == 1);  // nothing ran
  for (int i = 0; i < 3; ++i) gpu::demand(gpu::backend().replay(graph));
  FINISH();
  CHECK(y.read()[0] == 13 && y.read()[99] == 7);
  gpu::backend().forget(graph);
  gpu::demand(gpu::backend().record_begin());
  CHECK(gpu::backend().wait() != nullptr);  // waiting breaks the recording
  CHECK(gpu::backend().record_end(&graph) != nullptr && graph == nullptr);
  FINISH();
}

void memory() {
  size_t before = 0, after = 0;
  gpu::demand(gpu::backend().free_memory(&before));
  standin::set_memory(1000000);
  {
    void *first = nullptr, *second = nullptr;
    gpu::demand(gpu::backend().allocate(600000, &first));
    CHECK(first != nullptr && reinterpret_cast<uintptr_t>(first) % 256 == 0);
    CHECK(gpu::backend().allocate(600000, &second) == nullptr && second == nullptr);
    CHECK(gpu::backend().allocate(~size_t{0}, &second) == nullptr && second == nullptr);
    gpu::backend().release(first);
    gpu::demand(gpu::backend().allocate(600000, &second));
    CHECK(second != nullptr);
    gpu::backend().release(second);
  }
  standin::set_memory(size_t{4} << 30);
  gpu::demand(gpu::backend().free_memory(&after));
  CHECK(before == after);
  // Holes are joined again: the next block lies where the first of these lay.
  std::vector<void*> all(100);
  for (void*& p : all) gpu::demand(gpu::backend().allocate(10000, &p));
  for (size_t i = 0; i < all.size(); ++i) gpu::backend().release(all[i * 37 % 100]);
  void* large = nullptr;
  gpu::demand(gpu::backend().allocate(1000000, &large));
  CHECK(large == all[0]);
  gpu::backend().release(large);
  FINISH();
}

/// A second stream uploads; without an event between the two the kernel comes too early.
void streams() {
  float* pinned = nullptr;
  CHECK(cudaMallocHost(reinterpret_cast<void**>(&pinned), 400) == cudaSuccess);
  for (int i = 0; i < 100; ++i) pinned[i] = static_cast<float>(i);
  cudaStream_t copies = nullptr;
  cudaEvent_t done = nullptr;
  CHECK(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking) == cudaSuccess);
  CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming) == cudaSuccess);
  for (const bool waits : {false, true}) {
    const gpu::Array<float> x(100), y(std::vector<float>(100, 1.0f));
    CHECK(cudaMemcpyAsync(x.data(), pinned, 400, cudaMemcpyHostToDevice, copies) == cudaSuccess);
    CHECK(cudaEventRecord(done, copies) == cudaSuccess);
    if (waits) CHECK(cudaStreamWaitEvent(stream(), done, 0) == cudaSuccess);
    launch(add, 2, 64, 0, y.data(), x.data(), 100);
    if (waits) {
      pinned[7] = -7;  // the copy may still be under way: this is a fault of the host, and it shows
      FINISH();
      CHECK(y.read()[99] == 100 && y.read()[7] == -6);
    } else {
      FOUND("uninitialised");
    }
  }
  CHECK(cudaEventSynchronize(done) == cudaSuccess && cudaEventDestroy(done) == cudaSuccess);
  CHECK(cudaStreamDestroy(copies) == cudaSuccess && cudaFreeHost(pinned) == cudaSuccess);
}

/// A process that reads the device's memory without a copy dies of it.
void host_access() {
#ifdef __x86_64__
  const int key = pkey_alloc(0, 0);
#else
  const int key = -1;
#endif
  if (key < 0) {
    std::printf("not tested: the host that touches the device's memory, for want of protection keys\n");
    return;
  }
  const gpu::Array<float> x(std::vector<float>(10, 3.0f));
  CHECK(x.read()[3] == 3);
  const pid_t child = fork();
  if (child == 0) {
    close(2);
    const volatile float* y = x.data();
    _exit(y[3] == 3 ? 0 : 1);
  }
  int status = 0;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

__global__ void nothing() {}

void limits() {
  const struct {
    dim3 grid, threads;
    size_t shared;
    bool fits;
  } cases[] = {{1, 1024, 227 << 10, true}, {1, 1025, 0, false},     {1, 32, (227 << 10) + 1, false}, {{1, 65536, 1}, 32, 0, false},
               {{1, 1, 65536}, 32, 0, false}, {{70000, 1, 1}, 1, 0, true}, {1, {1, 1, 65}, 0, false}};
  for (const auto& c : cases) {
    launch(nothing, c.grid, c.threads, c.shared);
    CHECK((gpu::backend().wait() == nullptr) == c.fits);
  }
  cudaGetLastError();
  CHECK(standin::violations().empty());
}

void copies_out_of_bounds() {
  const gpu::Array<float> x(10);
  const std::vector<float> host(11);
  CHECK(gpu::backend().upload(x.data(), host.data(), 44) != nullptr || gpu::backend().wait() != nullptr);
  CHECK(gpu::backend().clear(x.data() + 1, 40) != nullptr || gpu::backend().wait() != nullptr);
  gpu::demand(gpu::backend().upload(x.data(), host.data(), 40));
  FINISH();
}

void devices() {
  int32_t count = 0;
  standin::set_devices(3);
  CHECK(gpu::backend().count(&count) == nullptr && count == 3 && gpu::backend().use(2) == nullptr && gpu::backend().use(3) != nullptr);
  standin::set_devices(0);
  CHECK(gpu::backend().count(&count) != nullptr && count == 0);
  standin::set_devices(1);
  gpu::demand(gpu::backend().use(0));
  thaw::GpuDescription description;
  CHECK(gpu::backend().describe(0, &description) == nullptr && description.compute_major == 9);
  cudaGetLastError();
}

}  // namespace

int main() {
  gpu::backend();
  graphs();
  memory();
  streams();
  host_access();
  limits();
  copies_out_of_bounds();
  devices();
  return check::result();
}
