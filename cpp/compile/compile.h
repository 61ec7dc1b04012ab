#pragma once
// The compiler: a graph description and marks in, a program out. Each pass is a file of this folder.
//
//   read → partition → fold → differentiate → fuse → recompute → select → layout → expand → shortcut → by picture → memory →
//   in place → lower
//
// Freezing is a pass: what no trainable parameter can change becomes inference (folded, fused, packed once), and gradient
// nodes exist only where a trainable parameter needs them.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernels/isa.h"
#include "run/gpu.h"

namespace thaw {

/// What a plan is for.
///  run        inputs → outputs, inference
///  embed      inputs → the cut, inference of the frozen part
///  head       cut → outputs, inference
///  step       cut and targets → outputs, losses, gradients
///  gradients  inputs → outputs, losses, gradients: the meaning of `step` without the partition
enum class Mode { run, embed, head, step, gradients };
Mode mode_from(const std::string& name);  // throws ERR_REQUEST
inline bool is_training(Mode mode) { return mode == Mode::step || mode == Mode::gradients; }

/// bf16: convolutions read and write pictures in bf16 (Layout::blocked_bf16) and sum in f32; batch statistics, softmax,
/// losses, updates and the weights of the store stay f32.
enum class Precision : uint8_t { fp32, bf16 };
/// "fp32", "bf16", or "auto": bf16 where the instruction set has products for it. Throws ERR_REQUEST.
Precision precision_from(const std::string& name, Isa isa);

struct Request {
  Mode mode = Mode::run;
  Json graph;    // description
  Json shapes;   // graph input → shape; an input without a shape is left out with all that reads it
  std::set<std::string> trainable;
  std::map<std::string, std::string> batch_norm;  // node → 'frozen' | 'statistics' | 'train'; default frozen
  std::vector<std::string> outputs;               // default: the graph's
  Isa isa = best_isa();
  Precision precision = Precision::fp32;
  int device = kHost;  // with Isa::cuda: the GPU
  /// Training by picture: the pictures of the batch that this program is for or is a group of. 0: the batch goes through
  /// each node as a whole.
  int64_t batch = 0;
};

/// Pictures that the request's inputs have; 0 where they do not all begin with the same number.
int64_t pictures_of(const Request& request);

/// The gradient of one trainable parameter: dense, or rows of its first dimension at `indices`.
struct ParameterGradient {
  ValueId parameter = kNone;
  ValueId value = kNone;
  ValueId indices = kNone;
};

/// Why a kernel was not taken (THAW_VERBOSE=select shows it).
struct Declined {
  std::string node, kernel, why;
};

/// A graph on its way to a plan, with everything the passes found out.
struct Program {
  Graph graph;
  Mode mode = Mode::run;
  Isa isa = Isa::scalar;
  Precision precision = Precision::fp32;
  std::vector<ValueId> inputs;                 // bound by the caller, in order
  std::vector<ValueId> cut;                    // values at the border, in graph order
  std::vector<ParameterGradient> gradients;    // in the order of the parameters
  ValueId loss_scale = kNone;                  // scalar input: factor on all gradients
  std::vector<Declined> declined;

  /// Per value, in training: does its first dimension count something else than pictures? Empty in inference, where all
  /// that follows from the inputs has a row for each picture.
  std::vector<bool> without_rows;

  // Set by the memory pass.
  std::vector<bool> prepared;                  // per node: follows from parameters and states alone
  std::vector<ValueId> kept;                   // prepared values that other nodes or the caller read
};

/// All passes, in order.
Program compile(const Request& request);

// ---- passes, in order -------------------------------------------------------------------------------------------
/// Reads the description with the batch-norm modes of the request, drops inactive dropout, finds the cut and keeps the
/// part of the graph that the mode needs.
Program partition(const Request& request);
/// Folds frozen batch norms into the convolution or linear layer before them, where neither is trained.
void fold(Program& program);
/// Emits gradient nodes for the losses.
void differentiate(Program& program);
/// Joins convolution or batch norm + residual + activation, and linear + activation, into one node.
void fuse(Program& program);
/// Its part for batch norms, backward too (compile/fuse_batch_norm.cpp).
void fuse_batch_norm(Program& program);
/// Makes pictures again in the backward pass rather than keeping them. Where fewer bytes than `least` would be saved,
/// time is worth more.
void recompute(Program& program, size_t least);
/// Lets every operator choose its kernel and pack its weights.
void select(Program& program);
/// Chooses layouts and inserts reorder nodes where two neighbours disagree.
void choose_layouts(Program& program);
/// Joins 1x1 convolutions with the depthwise ones that alone read them (compile/expand.cpp).
void join_expansions(Program& program);
/// Joins two convolutions whose results are added, one of them 1x1 (compile/shortcut.cpp).
void join_shortcuts(Program& program);
/// Takes batch norms of large maps apart into what sees one picture at a time and what joins the pictures, and moves the
/// latter out of the way of stretches that run depth-first (compile/by_picture.cpp). `pictures`: of this program, of a
/// batch of `batch`.
void split_by_picture(Program& program, int64_t pictures, int64_t batch);
/// Marks what is computed once and kept (`prepared`, `kept`).
void find_prepared(Program& program);
/// In inference: gives the operands of concatenations their places in these, where producers can write there.
void write_in_place(Program& program);

// ---- helpers shared by passes -----------------------------------------------------------------------------------
/// Every reader of `from` (nodes, outputs, losses, updates) reads `to` instead.
void replace_uses(Graph& graph, ValueId from, ValueId to);
/// Removes nodes whose outputs nobody needs. `extra` values are needed besides outputs, losses and updates.
void prune(Graph& graph, const std::vector<ValueId>& extra);
/// Per value: does it depend on one for which `seed` is true?
std::vector<bool> depends_on(const Graph& graph, const std::vector<bool>& seed);
/// Is v read by the caller (output, loss, state update)?
bool leaves_graph(const Graph& graph, ValueId v);
/// Per value: how many operands of nodes it is, and one more where it is a gradient or the caller reads it.
std::vector<int> count_readers(const Program& program);
bool is_activation(const Node& node);
/// Gives a layer the activation that an activation node stands for.
void set_activation(Node& layer, const Node& activation);

}  // namespace thaw
