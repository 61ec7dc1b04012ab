#pragma once
// The named tensors of a session. A tensor keeps the bytes and the type it was loaded with; the form that kernels
// compute with is made when it is first asked for. Once a tensor is changed, its computed form is all there is.
// A session runs one command at a time, so nothing here locks.
//
// While a network is on a GPU, a tensor has a copy there besides. Plans and updates ask for that copy; whoever asks for the
// tensor by `find` or `at` gets contents that are up to date on the host.
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "graph/graph.h"
#include "run/memory.h"

namespace thaw {

/// Types of storage, under safetensors' names: "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL".
enum class Storage : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };
size_t storage_size(Storage);
const char* storage_name(Storage);
Storage storage_from(std::string_view name);  // throws ERR_DTYPE
/// The type kernels compute with: floating types f32; I64 i64; other integers i32; BOOL bool.
DType compute_dtype(Storage);
/// The type of storage of a computed form: f32 F32, i32 I32, i64 I64, bool BOOL, bf16 BF16.
Storage storage_of(DType);

/// Bytes of `shape` in `storage`. Throws ERR_SHAPE for negative dimensions and where the product overflows.
size_t storage_bytes(Storage storage, const Shape& shape, const std::string& name);

/// Converts `count` elements between types, rounding to nearest even; to f32 from any type, else to a type's own.
void convert_to_f32(Storage from, const void* source, float* target, int64_t count);

struct Tensor {
  std::string name;
  Storage dtype = Storage::f32;
  Shape shape;
  Memory loaded;         // elements in `dtype`, row-major
  Memory computed;       // empty while nobody asked, or where `dtype` is the compute type already
  Memory on_gpu;         // the compute form there; empty while nobody asked
  uint64_t gpu_version = 0;  // of `on_gpu`; equal to `version` where it is up to date
  bool host_stale = false;   // `on_gpu` is newer than what the host has
  uint64_t version = 0;  // of the whole process: grows with each change; equal versions mean equal contents
  bool modified = false;  // its values are no longer those of the file or buffer they came from

  int64_t count() const { return thaw::count(shape); }
  size_t bytes() const { return storage_size(dtype) * static_cast<size_t>(count()); }
};

class Store {
 public:
  explicit Store(std::shared_ptr<Account> account) : account_(std::move(account)) {}

  /// Null where there is none. The pointer is valid until the tensor is dropped or renamed; the memory behind it may
  /// move whenever `version` changes.
  Tensor* find(std::string_view name);
  /// Throws ERR_TENSOR_MISSING.
  Tensor& at(std::string_view name);
  /// The same for those who read no contents on the host.
  Tensor* peek(std::string_view name);
  const std::map<std::string, std::unique_ptr<Tensor>, std::less<>>& all() const { return tensors_; }

  /// The compute form (type compute_dtype(tensor.dtype)), 64-byte aligned, plain layout.
  void* compute(Tensor& tensor);
  void* compute(std::string_view name) { return compute(at(name)); }
  /// The compute form where its type is f32 / i64; another type throws ERR_DTYPE.
  float* f32(std::string_view name);
  int64_t* i64(std::string_view name);

  /// The compute form in the memory of the thread's current GPU.
  void* on_gpu(Tensor& tensor);
  /// Throws ERR_TENSOR_MISSING.
  void* on_gpu(std::string_view name);
  /// Say that the compute form there was written.
  void mark_modified_on_gpu(Tensor& tensor);
  /// Takes every tensor off the GPU.
  void leave_gpu();

  uint64_t version(std::string_view name);
  /// Grows with each change to any tensor and to where its elements lie.
  uint64_t version() const { return version_; }
  /// Say that the compute form was written. The loaded form goes, and the tensor's type becomes that of the compute
  /// form.
  void mark_modified(Tensor& tensor);
  void mark_modified(std::string_view name) { mark_modified(at(name)); }

  /// A tensor full of zeros, replacing one of that name; counts as modified.
  Tensor& create(std::string_view name, Storage dtype, const Shape& shape);
  /// The same, not cleared and not modified: the caller fills `loaded`.
  Tensor& replace(std::string_view name, Storage dtype, const Shape& shape);
  /// Takes over memory that already holds the elements.
  Tensor& adopt(std::string_view name, Storage dtype, const Shape& shape, Memory loaded);
  void copy(std::string_view from, const std::string& to);
  void rename(std::string_view from, const std::string& to);
  bool drop(std::string_view name);
  void clear() {
    tensors_.clear();
    change();
  }

  const std::shared_ptr<Account>& account() const { return account_; }
  /// A new version number.
  static uint64_t next_version();

 private:
  uint64_t change() { return version_ = next_version(); }
  void fetch(Tensor& tensor);

  std::shared_ptr<Account> account_;
  uint64_t version_ = next_version();
  std::map<std::string, std::unique_ptr<Tensor>, std::less<>> tensors_;
};

}  // namespace thaw
