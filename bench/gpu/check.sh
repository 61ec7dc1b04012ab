#!/usr/bin/env bash
# On a machine with a GPU, CMake, nvcc and perhaps nothing else: builds, runs the operators' tests on the GPU, the same under
# compute-sanitizer, compares networks with the processor and measures them. Stages, each of a few minutes:
#   bench/gpu/check.sh build | operators | sanitizer | networks | speed      [graphs folder, made by bench/graphs.mjs]
set -euo pipefail
cd "$(dirname "$0")/../.."
stage="${1:?a stage}"
graphs="${2:-bench/.cache/graphs}"
build=build/gpu
export THAW_CUDA_BINARY="$PWD/$build/thaw.cuda.so"
operators=(batch_norm_test conv2d_bf16_test conv2d_shapes_test conv2d_test linear_bf16_test ops_losses_test ops_products_test
  optim_test pool_norm_test pool_test shape_ops_test)

case "$stage" in
  build)
    cmake -S . -B "$build" -DTHAW_CORE_TESTS=ON -DTHAW_CUDA=ON -DCMAKE_BUILD_TYPE=Release
    cmake --build "$build" --parallel "$(nproc)"
    ls -l "$THAW_CUDA_BINARY"
    ;;
  operators)
    for name in "${operators[@]}"; do
      printf '%-24s' "$name"
      "$build/$name" | tail -1
    done
    ;;
  sanitizer)
    for tool in memcheck racecheck initcheck; do
      for name in "${operators[@]}"; do
        printf '%-12s%-24s' "$tool" "$name"
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/$name" | grep -E 'ERROR SUMMARY|checks,' | tr '\n' ' '
        echo
      done
    done
    ;;
  networks)
    for precision in fp32 bf16; do
      for mode in run step; do
        "$build/network_bench" "$graphs"/*.json --device cuda --library "$THAW_CUDA_BINARY" --precision "$precision" --mode "$mode" --batch 4 \
          --repeats 0 --check
      done
    done
    ;;
  speed)
    for batch in 32 256; do
      for mode in run step; do
        "$build/network_bench" "$graphs"/{resnet50,resnet18,mobilenet_v2}.json --device cuda --library "$THAW_CUDA_BINARY" --precision bf16 \
          --mode "$mode" --batch "$batch" --repeats 30
        python3 bench/gpu/torch_speed.py "$mode" "$batch" resnet50 resnet18 mobilenet_v2
      done
    done
    ;;
  *)
    echo "expected build, operators, sanitizer, networks or speed for the stage, received '$stage'" >&2
    exit 1
    ;;
esac
