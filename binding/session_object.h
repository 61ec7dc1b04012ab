#pragma once
// The JavaScript class Session: a handle to one native session.
#include <napi.h>

#include <memory>

#include "environment.h"

namespace thaw::binding {

class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env);

  /// new Session({ threads?: number })
  explicit SessionObject(const Napi::CallbackInfo& info);
  ~SessionObject() override;

  /// Tells the garbage collector how much native memory the session holds by now.
  void report_memory();
  /// The environment is gone: its data must not be touched any more. Nothing of the session runs or will run.
  void abandon();

 private:
  /// submit(command: string, request: string, buffers: ArrayBufferView[]):
  ///   { id: number, promise: Promise<{ reply: string, buffers: ArrayBuffer[] }> }
  Napi::Value submit(const Napi::CallbackInfo& info);
  /// cancel(id: number): the promise of a command that is queued or runs rejects with ERR_ABORTED.
  void cancel(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);

  Environment* environment_;
  std::shared_ptr<Session> session_;
  int64_t reported_ = 0;
  bool disposed_ = false;
};

}  // namespace thaw::binding
