// Commands that work on files: read, write.
#include <algorithm>
#include <cstring>

#include "session/file.h"
#include "session/session.h"
#include "session/strides.h"

namespace thaw {
namespace {

// Between two looks at the cancel flag.
constexpr size_t kChunk = size_t{16} << 20;
// What a strided tensor may be larger than its file (an expanded tensor repeats elements).
constexpr uint64_t kExpansion = uint64_t{1} << 20;

struct Range {
  std::string name;
  Storage dtype = Storage::f32;
  Shape shape;
  uint64_t offset = 0;
  std::vector<int64_t> strides;  // in elements; empty: row-major
  size_t bytes = 0;              // of the tensor
  size_t span = 0;               // from its first to its last element in the file
};

// Everything about a range that can be wrong is found here, before memory is taken.
Range parse_range(const Json& json, const InputFile& file) {
  Range range;
  range.name = json.at("name").as_string();
  range.dtype = storage_from(json.at("dtype").as_string());
  range.shape = json.at("shape").as_ints();
  const int64_t offset = json.at("offset").as_int();
  range.bytes = storage_bytes(range.dtype, range.shape, range.name);
  range.span = range.bytes;
  const uint64_t element = storage_size(range.dtype);
  if (const Json* strides = json.find("strides")) {
    range.strides = strides->as_ints();
    check_strides(range.shape, range.strides, range.name);
    if (range.bytes > 0) range.span = strided_span(range.shape, range.strides, element, file.size() + element);
  }
  const bool inside = offset >= 0 && static_cast<uint64_t>(offset) <= file.size() &&
                      range.span <= file.size() - static_cast<uint64_t>(offset) &&
                      range.bytes <= file.size() + kExpansion;
  if (!inside) {
    fail_expected("ERR_FILE_TRUNCATED", std::to_string(range.bytes) + " bytes at byte " + std::to_string(offset),
                  "tensor '" + range.name + "'",
                  "a file of " + std::to_string(file.size()) + " bytes ('" + file.path() + "')");
  }
  range.offset = static_cast<uint64_t>(offset);
  return range;
}

void read_span(InputFile& file, uint64_t offset, void* target, size_t bytes, const JobContext& context) {
  for (size_t done = 0; done < bytes; done += kChunk) {
    context.check();
    file.read(offset + done, static_cast<char*>(target) + done, std::min(kChunk, bytes - done));
  }
}

Memory read_range(InputFile& file, const Range& range, const std::shared_ptr<Account>& account,
                  const JobContext& context) {
  Memory memory(range.bytes, account);
  if (range.strides.empty() || range.bytes == 0) {
    read_span(file, range.offset, memory.data(), range.bytes, context);
    return memory;
  }
  const Memory span(range.span, account);
  read_span(file, range.offset, span.data(), range.span, context);
  gather(range.shape, range.strides, storage_size(range.dtype), range.bytes, span.as<char>(), memory.as<char>());
  return memory;
}

void check_expected(const Json& expected, const std::vector<Tensor*>& tensors) {
  if (expected.items().size() != tensors.size()) {
    fail_expected("ERR_JSON", std::to_string(tensors.size()) + " items", "'expected'",
                  std::to_string(expected.items().size()));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Json& item = expected.items()[i];
    const Tensor& tensor = *tensors[i];
    const std::string wanted = item.at("dtype").as_string() + " " + to_string(item.at("shape").as_ints());
    const std::string found = std::string(storage_name(tensor.dtype)) + " " + to_string(tensor.shape);
    if (wanted != found) fail_expected("ERR_TENSOR_CHANGED", wanted, "tensor '" + tensor.name + "'", found);
  }
}

}  // namespace

/// Reads ranges of one file into the store, all or none.
Reply command_read(Session& session, const Json& request, Buffers&, JobContext& context) {
  InputFile file(request.at("path").as_string());
  std::vector<Range> ranges;
  for (const Json& json : request.at("tensors").items()) ranges.push_back(parse_range(json, file));
  std::vector<Memory> memories;
  for (const Range& range : ranges) memories.push_back(read_range(file, range, session.account, context));
  for (size_t i = 0; i < ranges.size(); ++i) {
    session.store.adopt(ranges[i].name, ranges[i].dtype, ranges[i].shape, std::move(memories[i]));
  }
  return {};
}

/// Writes a header (the first buffer) and tensors behind it, in order. `expected` lists the dtype and shape that the
/// header was made for: the write is refused when a tensor has changed since.
Reply command_write(Session& session, const Json& request, Buffers& buffers, JobContext& context) {
  if (buffers.size() != 1) {
    fail_expected("ERR_ARGUMENT", "one buffer (the header)", "'write'", std::to_string(buffers.size()));
  }
  std::vector<Tensor*> tensors;
  for (const std::string& name : request.at("tensors").as_strings()) tensors.push_back(&session.store.at(name));
  if (const Json* expected = request.find("expected")) check_expected(*expected, tensors);
  OutputFile file(request.at("path").as_string());
  file.write(buffers[0].data, buffers[0].size);
  for (const Tensor* tensor : tensors) {
    for (size_t done = 0; done < tensor->bytes(); done += kChunk) {
      context.check();
      file.write(tensor->loaded.as<char>() + done, std::min(kChunk, tensor->bytes() - done));
    }
  }
  context.check();
  file.commit();
  return {};
}

}  // namespace thaw
