#include "session/store.h"

#include <atomic>
#include <cstring>
#include <limits>

namespace thaw {
namespace {

struct StorageRow {
  const char* name;
  size_t size;
  DType compute;
};

// In the order of enum Storage.
constexpr StorageRow kStorage[] = {
    {"F64", 8, DType::f32}, {"F32", 4, DType::f32}, {"F16", 2, DType::f32}, {"BF16", 2, DType::f32},
    {"I64", 8, DType::i64}, {"I32", 4, DType::i32}, {"I16", 2, DType::i32}, {"I8", 1, DType::i32},
    {"U8", 1, DType::i32},  {"BOOL", 1, DType::boolean},
};

const StorageRow& row(Storage storage) { return kStorage[static_cast<int>(storage)]; }

template <class From, class To>
void convert(const void* source, void* target, int64_t count) {
  const auto* from = static_cast<const unsigned char*>(source);
  To* to = static_cast<To*>(target);
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * sizeof(From), sizeof(From));
    to[i] = static_cast<To>(value);
  }
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Works on the bits alone, so that the denormal mode of the thread does not matter.
float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31;
  uint32_t mantissa = half & 0x3ff;
  if (exponent == 31) return float_of(sign | 0x7f800000 | (mantissa << 13));
  if (exponent != 0) return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return float_of(sign);
  uint32_t shift = 0;
  for (; !(mantissa & 0x400); ++shift) mantissa <<= 1;
  return float_of(sign | ((113 - shift) << 23) | ((mantissa & 0x3ff) << 13));
}

void half_to_f32(const void* source, float* target, int64_t count) {
  const auto* from = static_cast<const unsigned char*>(source);
  for (int64_t i = 0; i < count; ++i) {
    target[i] = half_to_float(static_cast<uint16_t>(from[2 * i] | (from[2 * i + 1] << 8)));
  }
}

void bfloat_to_f32(const void* source, float* target, int64_t count) {
  const auto* from = static_cast<const unsigned char*>(source);
  for (int64_t i = 0; i < count; ++i) {
    target[i] = float_of((static_cast<uint32_t>(from[2 * i]) << 16) | (static_cast<uint32_t>(from[2 * i + 1]) << 24));
  }
}

void convert_to_i32(Storage from, const void* source, int32_t* target, int64_t count) {
  if (from == Storage::i16) return convert<int16_t, int32_t>(source, target, count);
  if (from == Storage::i8) return convert<int8_t, int32_t>(source, target, count);
  convert<uint8_t, int32_t>(source, target, count);
}

[[noreturn]] void missing(std::string_view name) {
  fail_expected("ERR_TENSOR_MISSING", "a tensor of the network", "'" + std::string(name) + "'", "an unknown name");
}

}  // namespace

size_t storage_size(Storage storage) { return row(storage).size; }
const char* storage_name(Storage storage) { return row(storage).name; }
DType compute_dtype(Storage storage) { return row(storage).compute; }

Storage storage_from(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kStorage)); ++i) {
    if (name == kStorage[i].name) return static_cast<Storage>(i);
  }
  fail_expected("ERR_DTYPE", "one of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL", "a tensor's dtype",
                "'" + std::string(name.substr(0, 40)) + "'");
}

Storage storage_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return Storage::f32;
    case DType::bf16: return Storage::bf16;
    case DType::i32: return Storage::i32;
    case DType::i64: return Storage::i64;
    case DType::boolean: break;
  }
  return Storage::boolean;
}

size_t storage_bytes(Storage storage, const Shape& shape, const std::string& name) {
  // Below 2^62, so that sums of two sizes cannot overflow either.
  constexpr uint64_t kLimit = uint64_t{1} << 62;
  uint64_t bytes = storage_size(storage);
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) fail_expected("ERR_SHAPE", "sizes of 0 or more", "tensor '" + name + "'", to_string(shape));
    if (size == 0) empty = true;
  }
  for (const int64_t size : shape) {
    if (empty) return 0;
    if (bytes > kLimit / static_cast<uint64_t>(size)) {
      fail_expected("ERR_SHAPE", "a shape that fits in memory", "tensor '" + name + "'", to_string(shape));
    }
    bytes *= static_cast<uint64_t>(size);
  }
  if (bytes > std::numeric_limits<size_t>::max()) {
    fail_expected("ERR_SHAPE", "a shape that fits in memory", "tensor '" + name + "'", to_string(shape));
  }
  return static_cast<size_t>(bytes);
}

void convert_to_f32(Storage from, const void* source, float* target, int64_t count) {
  switch (from) {
    case Storage::f64: return convert<double, float>(source, target, count);
    case Storage::f32: std::memcpy(target, source, static_cast<size_t>(count) * 4); return;
    case Storage::f16: return half_to_f32(source, target, count);
    case Storage::bf16: return bfloat_to_f32(source, target, count);
    case Storage::i64: return convert<int64_t, float>(source, target, count);
    case Storage::i32: return convert<int32_t, float>(source, target, count);
    case Storage::i16: return convert<int16_t, float>(source, target, count);
    case Storage::i8: return convert<int8_t, float>(source, target, count);
    case Storage::u8: return convert<uint8_t, float>(source, target, count);
    case Storage::boolean: return convert<uint8_t, float>(source, target, count);
  }
}

uint64_t Store::next_version() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Tensor* Store::peek(std::string_view name) {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second.get();
}

Tensor* Store::find(std::string_view name) {
  Tensor* tensor = peek(name);
  if (tensor && tensor->host_stale) fetch(*tensor);
  return tensor;
}

uint64_t Store::version(std::string_view name) {
  const Tensor* tensor = peek(name);
  if (!tensor) missing(name);
  return tensor->version;
}

void* Store::on_gpu(Tensor& tensor) {
  if (!tensor.on_gpu.empty() && tensor.gpu_version == tensor.version) return tensor.on_gpu.data();
  const size_t bytes = static_cast<size_t>(tensor.count()) * dtype_size(compute_dtype(tensor.dtype));
  if (tensor.on_gpu.empty() || tensor.on_gpu.size() != bytes) tensor.on_gpu = Memory::on_gpu(bytes, account_);
  copy_in(true, tensor.on_gpu.data(), compute(tensor), bytes);
  tensor.gpu_version = tensor.version;
  return tensor.on_gpu.data();
}

void* Store::on_gpu(std::string_view name) {
  Tensor* tensor = peek(name);
  if (!tensor) missing(name);
  return on_gpu(*tensor);
}

void Store::mark_modified_on_gpu(Tensor& tensor) {
  tensor.dtype = storage_of(compute_dtype(tensor.dtype));
  tensor.computed = Memory();
  tensor.modified = true;
  tensor.version = tensor.gpu_version = change();
  tensor.host_stale = true;
}

// The version stays: these are the same contents.
void Store::fetch(Tensor& tensor) {
  if (tensor.loaded.size() != tensor.bytes()) tensor.loaded = Memory(tensor.bytes(), account_);
  copy_out(true, tensor.loaded.data(), tensor.on_gpu.data(), tensor.bytes());
  tensor.host_stale = false;
}

void Store::leave_gpu() {
  for (auto& [name, tensor] : tensors_) {
    if (tensor->host_stale) fetch(*tensor);
    tensor->on_gpu = Memory();
  }
  change();
}

Tensor& Store::at(std::string_view name) {
  Tensor* tensor = find(name);
  if (!tensor) missing(name);
  return *tensor;
}

void* Store::compute(Tensor& tensor) {
  const DType dtype = compute_dtype(tensor.dtype);
  if (storage_of(dtype) == tensor.dtype) return tensor.loaded.data();
  if (tensor.computed.empty()) {
    Memory memory(static_cast<size_t>(tensor.count()) * dtype_size(dtype), account_);
    if (dtype == DType::f32) {
      convert_to_f32(tensor.dtype, tensor.loaded.data(), memory.as<float>(), tensor.count());
    } else {
      convert_to_i32(tensor.dtype, tensor.loaded.data(), memory.as<int32_t>(), tensor.count());
    }
    tensor.computed = std::move(memory);
  }
  return tensor.computed.data();
}

float* Store::f32(std::string_view name) {
  Tensor& tensor = at(name);
  if (compute_dtype(tensor.dtype) != DType::f32) {
    fail_expected("ERR_DTYPE", "a floating type", "tensor '" + tensor.name + "'", storage_name(tensor.dtype));
  }
  return static_cast<float*>(compute(tensor));
}

int64_t* Store::i64(std::string_view name) {
  Tensor& tensor = at(name);
  if (tensor.dtype != Storage::i64) {
    fail_expected("ERR_DTYPE", "I64", "tensor '" + tensor.name + "'", storage_name(tensor.dtype));
  }
  return tensor.loaded.as<int64_t>();
}

void Store::mark_modified(Tensor& tensor) {
  if (!tensor.computed.empty()) {
    tensor.dtype = storage_of(compute_dtype(tensor.dtype));
    tensor.loaded = std::move(tensor.computed);
  }
  tensor.modified = true;
  tensor.version = change();
}

Tensor& Store::adopt(std::string_view name, Storage dtype, const Shape& shape, Memory loaded) {
  auto& slot = tensors_[std::string(name)];
  if (!slot) slot = std::make_unique<Tensor>();
  slot->name = name;
  slot->dtype = dtype;
  slot->shape = shape;
  slot->loaded = std::move(loaded);
  slot->computed = Memory();
  slot->on_gpu = Memory();
  slot->host_stale = false;
  slot->version = change();
  slot->modified = false;
  return *slot;
}

Tensor& Store::replace(std::string_view name, Storage dtype, const Shape& shape) {
  return adopt(name, dtype, shape, Memory(storage_bytes(dtype, shape, std::string(name)), account_));
}

Tensor& Store::create(std::string_view name, Storage dtype, const Shape& shape) {
  Tensor& tensor = adopt(name, dtype, shape, Memory(storage_bytes(dtype, shape, std::string(name)), account_, true));
  tensor.modified = true;
  return tensor;
}

void Store::copy(std::string_view from, const std::string& to) {
  const Tensor& source = at(from);
  if (from == to) return;
  Memory memory(source.bytes(), account_);
  std::memcpy(memory.data(), source.loaded.data(), source.bytes());
  const bool modified = source.modified;
  adopt(to, source.dtype, source.shape, std::move(memory)).modified = modified;
}

void Store::rename(std::string_view from, const std::string& to) {
  const auto found = tensors_.find(from);
  if (found == tensors_.end()) missing(from);
  if (from == to) return;
  auto node = tensors_.extract(found);
  tensors_.erase(to);
  node.key() = to;
  node.mapped()->name = to;
  node.mapped()->version = change();
  tensors_.insert(std::move(node));
}

bool Store::drop(std::string_view name) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return false;
  tensors_.erase(found);
  change();
  return true;
}

}  // namespace thaw
