#pragma once
// What the addon keeps for one JavaScript environment (the main thread or a worker). Nothing here is shared between
// environments, and all of it is touched on the environment's own thread only, but for `settle`.
#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "session/session.h"

namespace thaw::binding {

class SessionObject;

/// A command in flight: its promise, and what must live until it is settled.
struct Pending {
  napi_deferred deferred = nullptr;
  SessionObject* session = nullptr;
  Napi::ObjectReference wrapper;               // keeps `session` from being collected while it works
  std::vector<Napi::ObjectReference> buffers;  // inputs
  std::shared_ptr<Job> job;
};

/// A reading of the clocks of this thread, in ms. `processor` counts the time it ran; where the system does not tell,
/// it is wall time.
struct ThreadClock {
  double wall = 0;
  double processor = 0;
  static ThreadClock now();
};

class Environment {
 public:
  explicit Environment(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  /// Registers a command; it counts as outstanding (and holds the event loop) until it is settled.
  uint64_t add(Pending pending);
  Pending* find(uint64_t id);
  /// For a command that could not be queued.
  void remove(uint64_t id);
  /// From any thread: settles the promise of `id` on the environment's thread.
  void settle(uint64_t id, Outcome outcome);

  void enter(SessionObject* session) { sessions_.insert(session); }
  void leave(SessionObject* session) { sessions_.erase(session); }

  /// The longest that one call of this addon held the environment's thread: processor time, and wall time, which counts
  /// what the system ran meanwhile, too. The two maxima may come from different calls.
  ThreadClock longest_call;

 private:
  struct Settlement {
    uint64_t id;
    Outcome outcome;
  };
  static void on_settled(Napi::Env env, Napi::Function, Environment* self, Settlement* settlement);
  using Channel = Napi::TypedThreadSafeFunction<Environment, Settlement, on_settled>;
  void finish(napi_env env, Settlement& settlement);
  void close();

  Napi::Env env_;
  Channel channel_;
  uint64_t last_id_ = 0;
  std::unordered_map<uint64_t, Pending> pending_;
  std::unordered_set<SessionObject*> sessions_;
};

/// Measures one native entry point.
class CallTimer {
 public:
  explicit CallTimer(Environment& environment) : environment_(environment) {}
  ~CallTimer();
  CallTimer(const CallTimer&) = delete;
  CallTimer& operator=(const CallTimer&) = delete;

 private:
  Environment& environment_;
  const ThreadClock begin_ = ThreadClock::now();
};

/// Throws into JavaScript: a TypeError or Error with `code`.
[[noreturn]] void throw_type_error(Napi::Env env, const std::string& message);
[[noreturn]] void throw_error(Napi::Env env, const Error& error);

/// Hands memory to JavaScript as an ArrayBuffer, without a copy where the runtime allows that. Null value on failure.
napi_value to_array_buffer(napi_env env, Bytes bytes);

}  // namespace thaw::binding
