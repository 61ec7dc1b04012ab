#pragma once
// A compiled program with its memory: what `compile` makes and `run` runs. A plan belongs to a session and is used by one
// job at a time.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compile/compile.h"
#include "optim/optimizer.h"
#include "run/arena.h"
#include "run/segment.h"
#include "run/lowered.h"
#include "run/memory.h"
#include "run/queue.h"
#include "run/recording.h"
#include "run/run.h"
#include "run/staging.h"
#include "session/store.h"

namespace thaw {

/// A value computed from parameters and states alone, and the versions of the tensors it was computed from.
struct Prepared {
  std::shared_ptr<Memory> block;  // that it lies in, with others
  char* data = nullptr;           // null: not yet
  std::vector<std::string> sources;
  std::vector<uint64_t> versions;
};

/// Prepared values by what they are (the expression that makes them), shared by the plans of a session: plans for another
/// batch size use the same packed weights.
struct PreparedCache {
  std::map<std::string, std::weak_ptr<Prepared>> entries;
};

/// Where a buffer's memory comes from at run time.
enum class Place : uint8_t { none, arena, kept, store };

class Plan {
 public:
  /// Throws what the passes throw, and ERR_TENSOR_MISSING for a parameter that the store does not have.
  Plan(const Request& request, Store& store, PreparedCache& cache);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// What the reply of `compile` says (see src/native.ts).
  Json describe() const;
  /// Its outputs as [{name, dtype, shape}], under the names of the description.
  Json describe_outputs() const;
  /// Its nodes as [{node, op, kernel, prepared, ms?}]; `ms` after a profiled run.
  Json describe_launches() const;

  struct Options {
    RandomState random;
    double loss_scale = 1;
    bool profile = false;
    int64_t staged = 0;               // the ticket of the inputs, if `stage` got them; 0: it did not
    std::function<void()> meanwhile;  // what the host does while a GPU computes; may be empty
  };
  /// Runs the program. `inputs` in the order of program().inputs, read unless staged(options.staged). Afterwards `result`
  /// reads values until the next run of any plan.
  void run(Store& store, const std::vector<Binding>& inputs, const Options& options, const JobContext& context);
  /// Brings the inputs of a later run to the GPU, while another run computes there. Throws ERR_INPUT, ERR_DEVICE_MEMORY.
  void stage(int64_t ticket, const std::vector<Binding>& inputs, const std::shared_ptr<Account>& account, int threads);
  bool staged(int64_t ticket) const { return staging_.holds(ticket); }
  /// Where it lies: on the plan's device.
  const void* result(ValueId v) const { return pointers_[v]; }
  /// Copies bytes of it to the host.
  void read(ValueId v, void* to, size_t bytes, size_t offset = 0) const {
    copy_out(on_gpu(), to, static_cast<const char*>(pointers_[v]) + offset, bytes);
  }
  /// Values of the losses of the last run.
  std::vector<double> losses() const;
  /// Replaces states (running statistics) by what the last run computed.
  void commit_states(Store& store);

  /// Do caches keep this value of the cut in bf16? Pictures of a plan that computes in bf16: its operators hand them on in
  /// bf16 anyway.
  bool cached_in_bf16(ValueId v) const;
  /// Bytes of the value, all rows of it, as caches keep it.
  size_t cached_bytes(ValueId v) const;

  bool on_gpu() const { return device_ != kHost; }
  const Program& program() const { return whole_.program; }
  const Value& value(ValueId v) const { return program().graph.values[v]; }

 private:
  class Execution;

  Json describe_values(const std::vector<ValueId>& values) const;
  void find_any_alignment();
  void take_kept(Store&);
  void find_segments(const Request& request);
  bool find_rows(const Request& request);
  void lower_nodes();
  void place_buffers();
  size_t place_range(bool prepared);
  void share_prepared(PreparedCache& cache);
  std::string expression(ValueId v, std::map<ValueId, std::string>& known, std::vector<std::string>& sources) const;
  void bind_memory(Store& store);
  void bind_inputs(const std::vector<Binding>& inputs, const Options& options);
  void refresh_prepared(Store& store, Run& run, const JobContext& context);
  void run_node(size_t n, Run& run, bool profile);
  void run_nodes(Run& run, const Options& options, const JobContext& context);
  void read_times();
  void bind_tables(const std::shared_ptr<Account>& account);
  void bind_samples(const std::vector<int64_t>& samples, const std::shared_ptr<Account>& account);

  const int device_;
  Lowered whole_;
  std::vector<std::unique_ptr<Segment>> segments_;  // in order; their nodes have no launches in `whole_`
  std::vector<Place> places_;                 // per value
  std::vector<size_t> offsets_;               // per buffer, where it lies in the arena
  std::vector<void*> pointers_;               // per buffer, during a run
  std::map<ValueId, std::shared_ptr<Prepared>> kept_;
  std::map<ValueId, std::vector<NodeId>> ancestors_;  // nodes that make a kept value, in order
  uint64_t store_version_ = 0;  // of the store, when pointers and prepared values were brought up to date
  std::vector<bool> any_alignment_;  // per input: may lie anywhere
  size_t arena_bytes_ = 0;
  size_t kept_bytes_ = 0;
  size_t thread_bytes_ = 0;                   // that segments take of the pool's threads
  std::vector<double> profile_;

  // On a GPU.
  Memory tables_;   // all of them, once
  Memory samples_;  // of the run
  Staging staging_;
  std::unique_ptr<Recording> recording_;
};

}  // namespace thaw
