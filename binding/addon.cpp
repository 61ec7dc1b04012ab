// The addon's exports: the class Session, coreInfo and shutDown.
#include <napi.h>

#include "environment.h"
#include "kernels/isa.h"
#include "run/pool.h"
#include "session_object.h"

#ifndef THAW_VERSION
#define THAW_VERSION "0.0.0"
#endif

namespace thaw::binding {
namespace {

// How long the process waits at its end for a job that runs. Jobs look at their flag between launches.
constexpr int kShutDownMs = 10000;

/// coreInfo(): { version, isa, isas, threads, longestCallMs, longestCallWallMs }
Napi::Value core_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallTimer timer(Environment::of(env));
  Napi::Array isas = Napi::Array::New(env);
  for (const Isa isa : {Isa::amx, Isa::avx512, Isa::avx2, Isa::scalar}) {
    if (isa_usable(isa)) isas.Set(isas.Length(), isa_name(isa));
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("version", THAW_VERSION);
  result.Set("isa", isa_name(best_isa()));
  result.Set("isas", isas);
  result.Set("threads", Pool::shared().threads());
  result.Set("longestCallMs", Environment::of(env).longest_call.processor);
  result.Set("longestCallWallMs", Environment::of(env).longest_call.wall);
  return result;
}

/// shutDown(): at the end of the process, ahead of static destructors. Cancels all jobs and waits for those that run.
void shut_down(const Napi::CallbackInfo&) { Queue::shared().shut_down(kShutDownMs); }

Napi::Object start(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  exports.Set("Session", SessionObject::define(env));
  exports.Set("coreInfo", Napi::Function::New(env, core_info, "coreInfo"));
  exports.Set("shutDown", Napi::Function::New(env, shut_down, "shutDown"));
  return exports;
}

}  // namespace
}  // namespace thaw::binding

static Napi::Object start_thaw(Napi::Env env, Napi::Object exports) { return thaw::binding::start(env, exports); }
NODE_API_MODULE(thaw, start_thaw)
