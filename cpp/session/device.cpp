// The commands devices and device: which GPUs there are, and where a network lies.
#include "run/plan.h"
#include "session/session.h"

namespace thaw {
namespace {

std::string version_text(int32_t number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

Json describe_gpu(int index) {
  const GpuDescription gpu = gpu::describe(index);
  Json row = Json::object();
  row.set("device", std::string("cuda:").append(std::to_string(index))).set("name", gpu.name);
  row.set("computeCapability", std::to_string(gpu.compute_major) + "." + std::to_string(gpu.compute_minor));
  row.set("multiprocessors", gpu.multiprocessors).set("memory", gpu.memory);
  return row;
}

}  // namespace

/// {library: path of the second binary, version} → {gpus: [{device, name, computeCapability, multiprocessors, memory}],
/// driver, needed, why?}: versions of CUDA, of the driver's here ('0.0' where there is none) and the least that the binary
/// runs on; `why` there is no GPU. Throws ERR_DEVICE where the binary cannot be opened.
Reply command_devices(Session&, const Json& request, Buffers&, JobContext&) {
  gpu::open(request.at("library").as_string(), request.at("version").as_string());
  int32_t driver = 0, needed = 0, devices = 0;
  gpu::backend().versions(&driver, &needed);
  const char* why = gpu::backend().count(&devices);
  Reply reply;
  if (why) reply.json.set("why", why);
  Json gpus = Json::array();
  for (int i = 0; !why && i < devices; ++i) gpus.push(describe_gpu(i));
  reply.json.set("gpus", std::move(gpus)).set("driver", version_text(driver)).set("needed", version_text(needed));
  return reply;
}

/// {device: a GPU's number, or -1: the processor; library, version} → {gpu?}: moves the network there. Plans are made anew.
Reply command_device(Session& session, const Json& request, Buffers&, JobContext&) {
  const int device = static_cast<int>(request.at("device").as_int());
  Reply reply;
  if (device != kHost) {
    gpu::open(request.at("library").as_string(), request.at("version").as_string());
    gpu::use(device);
    reply.json.set("gpu", describe_gpu(device));
  }
  if (device == session.device) return reply;
  session.plans.clear();
  session.prepared.reset();
  session.gpu_optimizer = GpuOptimizer(session.account);
  if (session.device != kHost) {
    gpu::use(session.device);
    session.store.leave_gpu();
  }
  session.device = device;
  return reply;
}

}  // namespace thaw
