#!/usr/bin/env bash
# On a machine with a GPU, CMake, nvcc, PyTorch, and perhaps nothing else: builds, compares with the processor and with PyTorch,
# looks for faults with compute-sanitizer, measures. README.md beside this says what to call in which order.
#
#   bench/gpu/check.sh STAGE…     any of
#     build operators networks parity node peak layers head
#     speed-run-32 speed-step-32 speed-run-256 speed-step-256 memcheck racecheck initcheck synccheck
#
# Stages run one after the other, each at most $LIMIT seconds (default 480); one that fails does not keep the next from
# running. What they find goes to $OUT (default build/gpu/results): <stage>.jsonl and <stage>.txt; `tables.py` makes tables of it.
# DEVICE, LIBRARY, GRAPHS, PYTHON, BATCH, REPEATS take the place of what a machine with a GPU has, for trying the script elsewhere.
set -uo pipefail
cd "$(dirname "$0")/../.."

BUILD="${BUILD:-build/gpu}"
OUT="${OUT:-$BUILD/results}"
GRAPHS="${GRAPHS:-.gpu/graphs}"
DEVICE="${DEVICE:-cuda}"
PYTHON="${PYTHON:-python3}"
LIMIT="${LIMIT:-480}"
REPEATS="${REPEATS:-30}"
BATCH="${BATCH:-4}"
export LIBRARY="${LIBRARY:-$PWD/$BUILD/thaw.cuda.so}" BUILD OUT
export THAW_CUDA_BINARY="$LIBRARY"
OPERATORS=(batch_norm_test conv2d_bf16_test conv2d_shapes_test conv2d_test linear_bf16_test ops_losses_test ops_products_test
  optim_test pool_norm_test pool_test shape_ops_test)
MEASURED=(resnet50 resnet18 mobilenet_v2)
on_device=(--device "$DEVICE" --library "$LIBRARY")
mkdir -p "$OUT"

network() { "$BUILD/network_bench" "$@" "${on_device[@]}"; }
graphs_of_all() { find "$GRAPHS" -name '*.json' ! -name 'product@*' | sort; }
graphs_of_measured() { for name in "${MEASURED[@]}"; do echo "$GRAPHS/$name.json"; done; }

build() {
  cmake -S . -B "$BUILD" -DTHAW_CORE_TESTS=ON -DTHAW_CUDA=ON -DCMAKE_BUILD_TYPE=Release | tail -3 &&
    cmake --build "$BUILD" --parallel "$(nproc)" --target thaw_cuda network_bench "${OPERATORS[@]}" | grep -v '^\[' || true
  ls -l "$LIBRARY" "$BUILD/network_bench" && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm --format=csv,noheader
}

# The operators' tests of the core take the GPU where THAW_CUDA_BINARY names a library.
operators() {
  local status=0
  for name in "${OPERATORS[@]}"; do
    printf '%-24s' "$name"
    timeout 200 "$BUILD/$name" > "$OUT/operator.tmp" 2>&1
    local code=$?
    tail -n 1 "$OUT/operator.tmp"
    [ $code -eq 0 ] || { status=1; echo "  ended with $code"; head -n 20 "$OUT/operator.tmp"; }
  done
  rm -f "$OUT/operator.tmp"
  return $status
}

networks() {
  local status=0
  for precision in fp32 bf16; do
    for mode in run step; do
      # shellcheck disable=SC2046
      network $(graphs_of_all) --precision $precision --mode $mode --batch "$BATCH" --repeats 0 --check | tee -a "$OUT/networks.jsonl" || status=1
    done
  done
  return $status
}

# Each network by itself: its files have up to a gigabyte.
parity() {
  local status=0 files="$BUILD/dump"
  for graph in $(graphs_of_all); do
    for precision in fp32 bf16; do
      for mode in run step; do
        rm -rf "$files" && mkdir -p "$files"
        network "$graph" --precision $precision --mode $mode --batch "$BATCH" --repeats 0 --dump "$files" > "$OUT/parity.tmp" || {
          cat "$OUT/parity.tmp"
          status=1
          continue
        }
        "$PYTHON" bench/gpu/torch_parity.py $precision "$files"/*.safetensors | tee -a "$OUT/parity.jsonl" || status=1
      done
    done
  done
  rm -rf "$files" "$OUT/parity.tmp"
  return $status
}

speed() {
  local mode=$1 batch=$2
  # shellcheck disable=SC2046
  network $(graphs_of_measured) --precision bf16 --mode "$mode" --batch "$batch" --repeats "$REPEATS" | tee -a "$OUT/speed.jsonl"
  "$PYTHON" bench/gpu/torch_speed.py "$mode" "$batch" "${MEASURED[@]}" --device "$DEVICE" --repeats "$REPEATS" | tee -a "$OUT/speed.jsonl"
}

head_training() {
  for batch in 32 256; do
    # shellcheck disable=SC2046
    network $(graphs_of_measured) --precision bf16 --mode head --batch $batch --repeats "$REPEATS" | tee -a "$OUT/speed.jsonl"
    "$PYTHON" bench/gpu/torch_speed.py head $batch "${MEASURED[@]}" --device "$DEVICE" --repeats "$REPEATS" | tee -a "$OUT/speed.jsonl"
  done
}

# What tensor cores give to a plain product: PyTorch's, and thaw's own.
peak() {
  "$PYTHON" bench/gpu/torch_speed.py peak --device "$DEVICE" | tee -a "$OUT/layers.jsonl"
  for graph in "$GRAPHS"/product@*.json; do
    local side="${graph##*@}"
    network "$graph" --precision bf16 --batch "${side%.json}" --repeats 10 --layers | tee -a "$OUT/layers.jsonl"
  done
}

layers() {
  local status=0
  for batch in ${LAYERS_BATCHES:-32 256}; do
    for mode in run step; do
      # shellcheck disable=SC2046
      network $(graphs_of_measured) --precision bf16 --mode $mode --batch "$batch" --repeats 10 --layers >> "$OUT/layers.jsonl" || status=1
    done
  done
  grep '"error"' "$OUT/layers.jsonl"
  wc -l "$OUT/layers.jsonl"
  return $status
}

# Several at a time: most of a test is its reference on the processor.
sanitizer() {
  export TOOL=$1
  printf '%s\n' "${OPERATORS[@]}" | xargs -P 6 -I NAME bash -c '
    log="$OUT/$TOOL.NAME.tmp"
    timeout "${EACH:-420}" compute-sanitizer --tool "$TOOL" --error-exitcode 9 "$BUILD/NAME" > "$log" 2>&1
    code=$?
    printf "%-12s%-24s%s  %s\n" "$TOOL" NAME "$([ $code -eq 124 ] && echo "not finished" || echo "status $code")" "$(grep -E "SUMMARY" "$log" | tail -n 1)"
    [ $code -eq 0 ] || grep -E -A8 "=========" "$log" | head -n 30
    rm -f "$log"
    [ $code -eq 0 ]'
}

# Node and the addon come along (bench/gpu/pack.sh); the kernels are those that were built here.
node_part() {
  [ -x .gpu/node ] || "$PYTHON" -c 'import lzma, shutil; shutil.copyfileobj(lzma.open(".gpu/node.xz"), open(".gpu/node", "wb"))' || return 1
  chmod +x .gpu/node
  .gpu/node .gpu/bench/gpu/end_to_end.mjs "$DEVICE" "${NETWORK:-resnet18}" | tee -a "$OUT/node.jsonl"
}

stage() {
  case "$1" in
    build | operators | networks | parity | peak | layers) "$1" ;;
    head) head_training ;;
    node) node_part ;;
    speed-*) speed $(echo "${1#speed-}" | tr - ' ') ;;
    memcheck | racecheck | initcheck | synccheck) sanitizer "$1" ;;
    *)
      echo "expected a stage (see the top of $0), received '$1'" >&2
      return 2
      ;;
  esac
}

# A stage is a process of its own, so that its limit can end it.
if [ "${THAW_STAGE:-}" ]; then
  stage "$THAW_STAGE"
  exit
fi
[ $# -gt 0 ] || { stage ''; exit 2; }
status=0
for name in "$@"; do
  begin=$SECONDS
  echo "== $name"
  THAW_STAGE=$name timeout "$LIMIT" "$0" 2>&1 | tee "$OUT/$name.txt"
  code=${PIPESTATUS[0]}
  [ "$code" -eq 0 ] || status=1
  echo "== $name: status $code, $((SECONDS - begin)) s" | tee -a "$OUT/$name.txt"
done
exit $status
