#!/usr/bin/env bash
# Makes the folder .gpu (ignored by git), which goes to a machine with a GPU beside the sources: Node, the addon as it was built
# here (`npm run build` first), thaw itself, and graph files of networks. About 40 MiB.
#   bench/gpu/pack.sh [path of a node binary for Linux; default: this one]
set -euo pipefail
cd "$(dirname "$0")/../.."
node="${1:-$(command -v node)}"
small=(alexnet squeezenet1_1 mobilenet_v3_large mobilenet_v1 shufflenet_v2_x1_0 mnasnet1_0 efficientnet_b0 regnet_y_400mf densenet121
  convnext_tiny resnext50_32x4d googlenet vgg11_bn)

rm -rf .gpu && mkdir -p .gpu/graphs .gpu/build/Release .gpu/node_modules .gpu/bench/gpu
strip -o .gpu/node "$node" 2> /dev/null || cp "$node" .gpu/node
xz -T0 -6 .gpu/node
strip --strip-unneeded -o .gpu/build/Release/thaw.node build/Release/thaw.node
cp -r dist package.json .gpu/
find .gpu/dist -name '*.map' -delete
cp -r node_modules/node-gyp-build .gpu/node_modules/
cp bench/gpu/end_to_end.mjs .gpu/bench/gpu/
node bench/graphs.mjs .gpu/graphs resnet50 resnet18 mobilenet_v2 product@8192 "${small[@]/%/@128}"
du -sh .gpu
