#include "session_object.h"

#include <cmath>

namespace thaw::binding {
namespace {

const char* type_name(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "a number";
    case napi_string: return "a string";
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    case napi_bigint: return "a bigint";
    default: return "an object";
  }
}

[[noreturn]] void wrong_argument(const Napi::Value& value, const char* expected, const char* name) {
  const std::string sentence = std::string("expected ") + expected + " for " + name + ", received " + type_name(value);
  throw_type_error(value.Env(), sentence);
}

std::string string_argument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) wrong_argument(value, "a string", name);
  return value.As<Napi::String>().Utf8Value();
}

int threads_option(const Napi::Value& options) {
  if (options.IsUndefined()) return 0;
  if (!options.IsObject()) wrong_argument(options, "an object", "'options'");
  const Napi::Value threads = options.As<Napi::Object>().Get("threads");
  if (threads.IsUndefined()) return 0;
  if (!threads.IsNumber()) wrong_argument(threads, "a number", "'threads'");
  const double number = threads.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= 1e6) || number != std::floor(number)) {
    const std::string received = std::to_string(number);
    throw_type_error(options.Env(), "expected a whole number of 0 or more for 'threads', received " + received);
  }
  return static_cast<int>(number);
}

// The bytes behind a typed array, a Buffer or a DataView, wherever they lie.
Bytes view_bytes(const Napi::Value& value) {
  void* data = nullptr;
  size_t size = 0;
  if (value.IsTypedArray()) {
    // Asks the view, not its ArrayBuffer: that may be shared memory, for which node-addon-api has no type.
    napi_typedarray_type type;
    size_t length = 0;
    napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr);
    size = value.As<Napi::TypedArray>().ByteLength();
  } else if (value.IsDataView()) {
    napi_get_dataview_info(value.Env(), value, &size, &data, nullptr, nullptr);
  } else {
    wrong_argument(value, "a typed array", "an item of 'buffers'");
  }
  if (size > 0 && !data) wrong_argument(value, "memory that is still attached", "an item of 'buffers'");
  return Bytes(data, size, nullptr);
}

}  // namespace

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {InstanceMethod("submit", &SessionObject::submit),
                      InstanceMethod("cancel", &SessionObject::cancel),
                      InstanceMethod("dispose", &SessionObject::dispose),
                      InstanceAccessor("bytes", &SessionObject::bytes, nullptr)});
}

SessionObject::SessionObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SessionObject>(info), environment_(&Environment::of(info.Env())) {
  const CallTimer timer(*environment_);
  try {
    session_ = Session::create({threads_option(info[0])});
  } catch (const Error& error) {
    throw_error(info.Env(), error);
  }
  environment_->enter(this);
}

SessionObject::~SessionObject() {
  if (environment_) {
    environment_->leave(this);
    disposed_ = true;
    report_memory();
  }
  session_->close(false);
  Session::release(std::move(session_));
}

void SessionObject::abandon() {
  environment_ = nullptr;
  session_->close(false);
}

void SessionObject::report_memory() {
  const int64_t held = disposed_ ? 0 : session_->bytes();
  if (held != reported_) Napi::MemoryManagement::AdjustExternalMemory(Env(), held - reported_);
  reported_ = held;
}

Napi::Value SessionObject::submit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Environment& environment = *environment_;
  const CallTimer timer(environment);
  const std::string command = string_argument(info[0], "'command'");
  std::string request = string_argument(info[1], "'request'");
  if (!info[2].IsArray()) wrong_argument(info[2], "an array", "'buffers'");

  Pending pending;
  pending.session = this;
  pending.wrapper = Napi::Persistent(info.This().As<Napi::Object>());
  Buffers buffers;
  const Napi::Array views = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < views.Length(); ++i) {
    const Napi::Value view = views.Get(i);
    buffers.push_back(view_bytes(view));
    pending.buffers.push_back(Napi::Persistent(view.As<Napi::Object>()));
  }
  napi_value promise = nullptr;
  if (napi_create_promise(env, &pending.deferred, &promise) != napi_ok) throw Napi::Error::New(env);
  const uint64_t id = environment.add(std::move(pending));
  try {
    environment.find(id)->job = session_->submit(command, std::move(request), std::move(buffers),
        [&environment, id](Outcome outcome) { environment.settle(id, std::move(outcome)); });
  } catch (const Error& error) {
    environment.remove(id);
    throw_error(env, error);
  } catch (const std::exception& error) {
    environment.remove(id);
    throw_error(env, Error("ERR_INTERNAL", error.what()));
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("id", Napi::Number::New(env, static_cast<double>(id)));
  result.Set("promise", Napi::Value(env, promise));
  return result;
}

void SessionObject::cancel(const Napi::CallbackInfo& info) {
  const CallTimer timer(*environment_);
  if (!info[0].IsNumber()) wrong_argument(info[0], "a number", "'id'");
  const Pending* pending = environment_->find(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
  if (!pending || !pending->job) return;
  const std::shared_ptr<Job> job = pending->job;
  Queue::shared().cancel(job);
}

void SessionObject::dispose(const Napi::CallbackInfo&) {
  const CallTimer timer(*environment_);
  if (disposed_) return;
  disposed_ = true;
  session_->close(false);
  report_memory();
  // Gives the memory back on a native thread; the job in flight still has its share until it stops. What is left here
  // is an empty session, so that every later call finds one and says ERR_DISPOSED.
  auto closed = Session::create({});
  closed->close(false);
  Session::release(std::exchange(session_, std::move(closed)));
}

Napi::Value SessionObject::bytes(const Napi::CallbackInfo& info) {
  const CallTimer timer(*environment_);
  return Napi::Number::New(info.Env(), static_cast<double>(session_->bytes()));
}

}  // namespace thaw::binding
