#include "environment.h"

#include <cstring>

#include "session_object.h"

namespace thaw::binding {
namespace {

// Freed on the main thread: below this, giving memory back takes microseconds.
constexpr size_t kSmall = size_t{1} << 20;

void free_bytes(napi_env, void*, void* hint) {
  std::unique_ptr<Bytes> bytes(static_cast<Bytes*>(hint));
  if (bytes->size > kSmall) Queue::shared().discard(std::move(bytes->owner));
}

napi_value copy_to_array_buffer(napi_env env, const Bytes& bytes) {
  napi_value result = nullptr;
  void* data = nullptr;
  if (napi_create_arraybuffer(env, bytes.size, &data, &result) != napi_ok) return nullptr;
  if (bytes.size > 0) std::memcpy(data, bytes.data, bytes.size);
  return result;
}

}  // namespace

napi_value to_array_buffer(napi_env env, Bytes bytes) {
  if (bytes.size == 0) return copy_to_array_buffer(env, bytes);
  auto held = std::make_unique<Bytes>(std::move(bytes));
  napi_value result = nullptr;
  const napi_status status =
      napi_create_external_arraybuffer(env, held->data, held->size, free_bytes, held.get(), &result);
  if (status == napi_ok) {
    held.release();  // the finalizer's now
    return result;
  }
  // Runtimes with a memory cage (Electron) refuse memory that they did not allocate.
  return status == napi_no_external_buffers_allowed ? copy_to_array_buffer(env, *held) : nullptr;
}

void throw_type_error(Napi::Env env, const std::string& message) {
  Napi::TypeError error = Napi::TypeError::New(env, message);
  error.Set("code", Napi::String::New(env, "ERR_ARGUMENT"));
  throw error;
}

void throw_error(Napi::Env env, const Error& source) {
  Napi::Error error = Napi::Error::New(env, source.what());
  error.Set("code", Napi::String::New(env, source.code()));
  throw error;
}

Environment::Environment(Napi::Env env) : env_(env) {
  channel_ = Channel::New(env, "thaw", 0, 1, this);
  channel_.Unref(env);  // an idle addon does not hold the process open
  // Hooks run last in, first out: this one before the channel's own, so that jobs that end meanwhile may still use it.
  env.AddCleanupHook([](Environment* self) { self->close(); }, this);
}

// The environment ends (process end, worker.terminate()): nothing of it may run afterwards, since the memory of its
// inputs goes with it.
void Environment::close() {
  std::unordered_set<uint64_t> owners;  // those of disposed sessions too, whose last job may still run
  for (const auto& [id, pending] : pending_) owners.insert(pending.job->owner);
  for (const uint64_t owner : owners) Queue::shared().cancel_all(owner, false);
  for (const uint64_t owner : owners) Queue::shared().cancel_all(owner, true);
  for (SessionObject* session : sessions_) session->abandon();
  sessions_.clear();
  pending_.clear();
}

uint64_t Environment::add(Pending pending) {
  if (pending_.empty()) channel_.Ref(env_);
  pending_.emplace(++last_id_, std::move(pending));
  return last_id_;
}

Pending* Environment::find(uint64_t id) {
  const auto found = pending_.find(id);
  return found == pending_.end() ? nullptr : &found->second;
}

void Environment::remove(uint64_t id) {
  pending_.erase(id);
  if (pending_.empty()) channel_.Unref(env_);
}

void Environment::settle(uint64_t id, Outcome outcome) {
  auto settlement = std::make_unique<Settlement>(Settlement{id, std::move(outcome)});
  if (channel_.NonBlockingCall(settlement.get()) == napi_ok) settlement.release();
}

void Environment::on_settled(Napi::Env env, Napi::Function, Environment* self, Settlement* raw) {
  const std::unique_ptr<Settlement> settlement(raw);
  if (napi_env(env) == nullptr) return;  // the environment is going: only the memory counts
  const CallTimer timer(*self);
  self->finish(env, *settlement);
}

namespace {

napi_value text_value(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

// { reply: JSON text, buffers: ArrayBuffer[] }; null where the runtime has no memory left.
napi_value reply_value(napi_env env, Outcome& outcome) {
  napi_value result = nullptr, buffers = nullptr, reply = text_value(env, outcome.reply);
  if (!reply || napi_create_object(env, &result) != napi_ok) return nullptr;
  if (napi_create_array_with_length(env, outcome.buffers.size(), &buffers) != napi_ok) return nullptr;
  for (size_t i = 0; i < outcome.buffers.size(); ++i) {
    napi_value buffer = to_array_buffer(env, std::move(outcome.buffers[i]));
    if (!buffer || napi_set_element(env, buffers, static_cast<uint32_t>(i), buffer) != napi_ok) return nullptr;
  }
  napi_set_named_property(env, result, "reply", reply);
  napi_set_named_property(env, result, "buffers", buffers);
  return result;
}

napi_value error_value(napi_env env, const std::string& code, const std::string& message) {
  napi_value error = nullptr;
  napi_create_error(env, text_value(env, code), text_value(env, message), &error);
  return error;
}

}  // namespace

// Plain Node-API without exceptions: an environment that is being torn down refuses calls, which must not throw here.
void Environment::finish(napi_env env, Settlement& settlement) {
  const auto found = pending_.find(settlement.id);
  if (found == pending_.end()) return;
  const Pending pending = std::move(found->second);
  remove(settlement.id);
  pending.session->report_memory();
  Outcome& outcome = settlement.outcome;
  napi_value value = outcome.code.empty() ? reply_value(env, outcome) : nullptr;
  if (value) {
    napi_resolve_deferred(env, pending.deferred, value);
    return;
  }
  if (outcome.code.empty()) outcome.code = "ERR_MEMORY", outcome.message = "expected memory for a reply, received none";
  napi_value error = error_value(env, outcome.code, outcome.message);
  if (error) napi_reject_deferred(env, pending.deferred, error);
}

}  // namespace thaw::binding
