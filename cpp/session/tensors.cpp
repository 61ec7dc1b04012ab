// Commands that work on tensors in memory: put, get, list, digest, drop, copy, rename.
#include <cstring>

#include "session/digest.h"
#include "session/session.h"
#include "session/strides.h"

namespace thaw {
namespace {

Json describe(const Tensor& tensor, Storage dtype) {
  return Json::object().append("name", tensor.name).append("dtype", storage_name(dtype)).append("shape", tensor.shape);
}

struct Pairs {
  std::vector<std::string> from, to;
};

// "from" and "to": a name each, or lists of equal length.
Pairs parse_pairs(const Json& request) {
  const auto names = [&](const char* member) {
    const Json& json = request.at(member);
    return json.kind() == Json::Kind::string ? std::vector<std::string>{json.as_string()} : json.as_strings();
  };
  Pairs pairs{names("from"), names("to")};
  if (pairs.from.size() != pairs.to.size()) {
    fail_expected("ERR_ARGUMENT", std::to_string(pairs.from.size()) + " names", "'to'",
                  std::to_string(pairs.to.size()));
  }
  return pairs;
}

struct Described {
  std::string name;
  Storage dtype;
  Shape shape;
  size_t bytes = 0;
  std::vector<int64_t> strides = {};  // in elements; empty: row-major
};

Described parse_put(const Json& json, const Bytes& bytes) {
  Described tensor{json.at("name").as_string(), storage_from(json.at("dtype").as_string()), json.at("shape").as_ints()};
  tensor.bytes = storage_bytes(tensor.dtype, tensor.shape, tensor.name);
  size_t expected = tensor.bytes;
  if (const Json* strides = json.find("strides")) {
    tensor.strides = strides->as_ints();
    check_strides(tensor.shape, tensor.strides, tensor.name);
    if (tensor.bytes > 0)
      expected = strided_span(tensor.shape, tensor.strides, storage_size(tensor.dtype), bytes.size);
  }
  if (bytes.size != expected) {
    fail_expected("ERR_SHAPE", std::to_string(expected) + " bytes",
                  "tensor '" + tensor.name + "' " + to_string(tensor.shape), std::to_string(bytes.size) + " bytes");
  }
  return tensor;
}

void copy_in(const Described& tensor, const Bytes& source, Memory& target) {
  // An empty view has no address in JavaScript.
  if (source.size == 0) return;
  if (tensor.strides.empty()) {
    std::memcpy(target.data(), source.data, source.size);
  } else {
    gather(tensor.shape, tensor.strides, storage_size(tensor.dtype), tensor.bytes,
           static_cast<const char*>(source.data), target.as<char>());
  }
}

}  // namespace

/// Stores the buffers under names, replacing. All are checked before the first is stored.
Reply command_put(Session& session, const Json& request, Buffers& buffers, JobContext& context) {
  const auto& items = request.at("tensors").items();
  if (items.size() != buffers.size()) {
    fail_expected("ERR_ARGUMENT", std::to_string(items.size()) + " buffers", "'put'", std::to_string(buffers.size()));
  }
  std::vector<Described> tensors;
  std::vector<Memory> memories;
  for (size_t i = 0; i < items.size(); ++i) {
    context.check();
    tensors.push_back(parse_put(items[i], buffers[i]));
    memories.emplace_back(tensors[i].bytes, session.account);
    copy_in(tensors[i], buffers[i], memories[i]);
  }
  for (size_t i = 0; i < items.size(); ++i) {
    session.store.adopt(tensors[i].name, tensors[i].dtype, tensors[i].shape, std::move(memories[i]));
  }
  return {};
}

/// Copies tensors out: `as` 'loaded' (the default) in the type they have, 'f32' converted.
Reply command_get(Session& session, const Json& request, Buffers&, JobContext& context) {
  const std::string as = request.get("as", "loaded");
  if (as != "loaded" && as != "f32") fail_expected("ERR_ARGUMENT", "'loaded' or 'f32'", "'as'", "'" + as + "'");
  Reply reply;
  Json tensors = Json::array();
  for (const std::string& name : request.at("names").as_strings()) {
    context.check();
    const Tensor& tensor = session.store.at(name);
    const Storage dtype = as == "f32" ? Storage::f32 : tensor.dtype;
    Memory memory(static_cast<size_t>(tensor.count()) * storage_size(dtype));
    if (as == "f32") {
      convert_to_f32(tensor.dtype, tensor.loaded.data(), memory.as<float>(), tensor.count());
    } else {
      std::memcpy(memory.data(), tensor.loaded.data(), memory.size());
    }
    tensors.push(describe(tensor, dtype));
    reply.buffers.emplace_back(std::move(memory));
  }
  reply.json.set("tensors", std::move(tensors));
  return reply;
}

/// Every tensor of the store by name, in the order of names.
Reply command_list(Session& session, const Json&, Buffers&, JobContext&) {
  Reply reply;
  Json tensors = Json::array();
  for (const auto& [name, tensor] : session.store.all()) {
    tensors.push(describe(*tensor, tensor->dtype).append("modified", tensor->modified));
  }
  reply.json.set("tensors", std::move(tensors));
  return reply;
}

/// 128 bits of each tensor's type, shape and elements as stored, as text: equal where these are equal.
Reply command_digest(Session& session, const Json& request, Buffers&, JobContext& context) {
  Json digests = Json::array();
  for (const std::string& name : request.at("names").as_strings()) {
    context.check();
    const Tensor& tensor = session.store.at(name);
    const std::string kind = std::string(storage_name(tensor.dtype)) + " " + to_string(tensor.shape);
    digests.push(digest(tensor.loaded.data(), tensor.loaded.size(), digest(kind.data(), kind.size())).hex());
  }
  Reply reply;
  reply.json.set("digests", std::move(digests));
  return reply;
}

/// Forgets tensors; says how many there were of the names given.
Reply command_drop(Session& session, const Json& request, Buffers&, JobContext&) {
  int64_t dropped = 0;
  for (const std::string& name : request.at("names").as_strings()) dropped += session.store.drop(name);
  Reply reply;
  reply.json.set("dropped", dropped);
  return reply;
}

/// Copies tensors within the store, replacing.
Reply command_copy(Session& session, const Json& request, Buffers&, JobContext& context) {
  const Pairs pairs = parse_pairs(request);
  for (const std::string& name : pairs.from) session.store.at(name);
  for (size_t i = 0; i < pairs.from.size(); ++i) {
    context.check();
    session.store.copy(pairs.from[i], pairs.to[i]);
  }
  return {};
}

/// Renames tensors one after the other, replacing.
Reply command_rename(Session& session, const Json& request, Buffers&, JobContext&) {
  const Pairs pairs = parse_pairs(request);
  for (const std::string& name : pairs.from) session.store.at(name);
  for (size_t i = 0; i < pairs.from.size(); ++i) session.store.rename(pairs.from[i], pairs.to[i]);
  return {};
}

}  // namespace thaw
