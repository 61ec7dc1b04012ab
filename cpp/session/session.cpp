#include "session/session.h"

#include <chrono>
#include <new>

#include "run/pool.h"

namespace thaw {
namespace {

struct CommandRow {
  const char* name;
  Command* run;
  Lane lane;
};

constexpr CommandRow kCommands[] = {
#define COMMAND(name, lane) {#name, command_##name, Lane::lane},
#include "session/commands.def"
#undef COMMAND
};

const CommandRow& find_command(const std::string& name) {
  for (const CommandRow& row : kCommands) {
    if (name == row.name) return row;
  }
  fail_expected("ERR_COMMAND", "a command of the core", "a session", "'" + name.substr(0, 40) + "'");
}

Outcome aborted() { return {"", {}, "ERR_ABORTED", "the operation was aborted"}; }

/// While a command of a network on a GPU runs, that GPU is the thread's; nothing of it is in flight when the command has
/// ended, however it did.
class OnGpu {
 public:
  explicit OnGpu(int device) : on_(device != kHost) {
    if (on_) gpu::use(device);
  }
  ~OnGpu() {
    if (on_) gpu::backend().wait();
  }
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;

 private:
  const bool on_;
};

// The only place where exceptions of the core end: whatever is thrown becomes a code and a sentence.
Outcome execute(const CommandRow& row, Session& session, const std::string& text, Buffers& buffers,
                JobContext& context) {
  const FlushDenormals flush;
  try {
    const OnGpu on_gpu(session.device);
    const Json request = Json::parse(text);
    const auto begun = std::chrono::steady_clock::now();
    Reply reply = row.run(session, request, buffers, context);
    reply.json.set("ms", std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count());
    return {reply.json.dump(), std::move(reply.buffers), "", ""};
  } catch (const Error& error) {
    return {"", {}, error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"", {}, "ERR_MEMORY", "expected memory from the system, received none"};
  } catch (const std::exception& error) {
    return {"", {}, "ERR_INTERNAL", error.what()};
  }
}

}  // namespace

Session::Session(const Options& options) : options(options), owner_(Queue::shared().owner()) {}

Session::~Session() = default;

std::shared_ptr<Session> Session::create(const Options& options) {
  if (options.threads < 0 || options.threads > Pool::kMaxThreads) {
    fail_expected("ERR_ARGUMENT", "0 to " + std::to_string(Pool::kMaxThreads), "'threads'",
                  std::to_string(options.threads));
  }
  return std::shared_ptr<Session>(new Session(options));
}

std::shared_ptr<Job> Session::submit(const std::string& command, std::string request, Buffers buffers,
                                     std::function<void(Outcome)> done) {
  const CommandRow& row = find_command(command);
  if (closed_) fail_expected("ERR_DISPOSED", "a network that is in use", "'" + command + "'", "one that was disposed");
  struct Work {
    std::string request;
    Buffers buffers;
    Outcome outcome = aborted();
  };
  auto work = std::make_shared<Work>();
  work->request = std::move(request);
  work->buffers = std::move(buffers);
  auto job = std::make_shared<Job>();
  job->owner = owner_;
  job->lane = row.lane;
  job->run = [self = shared_from_this(), work, &row](const std::atomic<bool>& cancelled) {
    JobContext context{&cancelled, self->options.threads};
    work->outcome = execute(row, *self, work->request, work->buffers, context);
  };
  // `done` goes with the last word: what it holds must not outlive it.
  job->done = [work, done = std::move(done)](bool) { done(std::move(work->outcome)); };
  Queue::shared().submit(job);
  return job;
}

void Session::close(bool wait) {
  closed_ = true;
  Queue::shared().cancel_all(owner_, wait);
}

void Session::release(std::shared_ptr<Session> session) { Queue::shared().discard(std::move(session)); }

FeatureCache& Session::cache(int64_t id) {
  const auto found = caches.find(id);
  if (found == caches.end()) {
    fail_expected("ERR_CACHE", "a feature cache of this network", "'cache'", std::to_string(id));
  }
  return found->second;
}

}  // namespace thaw
