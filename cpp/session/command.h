#pragma once
// The signature of a command and what it is given. commands.def is the table; one file of session/ (or of another
// folder) holds a group of them.
#include <cstddef>
#include <memory>
#include <vector>

#include "graph/json.h"
#include "run/memory.h"
#include "run/queue.h"

namespace thaw {

class Session;

/// Bytes that travel beside a request or a reply. `owner` keeps them alive; inputs belong to JavaScript, are only
/// read, and may lie at any address (not aligned).
struct Bytes {
  void* data = nullptr;
  size_t size = 0;
  std::shared_ptr<void> owner;

  Bytes() = default;
  Bytes(void* data, size_t size, std::shared_ptr<void> owner) : data(data), size(size), owner(std::move(owner)) {}
  /// Hands memory over; the receiver frees it.
  explicit Bytes(Memory memory) : size(memory.size()) {
    auto held = std::make_shared<Memory>(std::move(memory));
    data = held->data();
    owner = std::move(held);
  }
};
using Buffers = std::vector<Bytes>;

/// What a command answers. The session adds `ms`, the milliseconds that the command took.
struct Reply {
  Json json = Json::object();
  Buffers buffers;
};

/// Runs on a native thread with denormals flushed. Throws Error; anything it changed before must leave the session
/// usable.
using Command = Reply(Session& session, const Json& request, Buffers& buffers, JobContext& context);

// `Reply command_<name>(Session&, const Json& request, Buffers&, JobContext&)` for each row of commands.def.
#define COMMAND(name, lane) Command command_##name;
#include "session/commands.def"
#undef COMMAND

}  // namespace thaw
