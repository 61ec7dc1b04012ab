"""For an architecture: random weights, a batch, what PyTorch makes of it in float64, and the error of its float32.

    reference.py ARCHITECTURE FOLDER

writes weights.safetensors (parameters and running statistics), and for batch norm 'frozen' and 'train' (dropout off)
<mode>.json and <mode>.bin: the batch, its targets, the outputs and the gradient of every parameter of the mean
cross-entropy. Tensors of more than SAMPLE elements are sampled at a stride that is prime, so that it meets every row.

A float32 that lands on the other side of a relu's corner than its float64 changes a gradient by far more than rounding
does, by chance. So of several batches the one is taken whose values lie the farthest from the corners. The search takes
long; batches.json keeps its result, and `reference.py --search ARCHITECTURE…` renews it.
"""

import json
import pathlib
import struct
import sys
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from torchvision.models.googlenet import BasicConv2d as GooglenetConv
from torchvision.models.inception import BasicConv2d as InceptionConv
from torchvision.models.regnet import ResBottleneckBlock
from torchvision.ops import StochasticDepth

from networks import make

warnings.filterwarnings("ignore")
SAMPLE = 1 << 16
PRIMES = [2, 3, 5, 7, 11, 13, 17, 23, 31, 41, 53, 67, 83, 101, 131, 163, 199, 257, 331, 421, 541, 701, 907, 1181, 1531, 1999]
CLASSES = 10
TRIES = 40
# Height and width of a picture where 33 x 41 is too small, or more than needed.
SIZES = {"alexnet": (65, 73), "cifar": (17, 21), "inception": (107, 139), "convnext": (35, 67), "densenet": (65, 73)}
ENOUGH = 8.0  # distance to the nearest corner, in float32's usual errors
BATCHES = pathlib.Path(__file__).with_name("batches.json")


def randomise(net):
    """Weights that keep activations at one scale (He et al. 2015), biases and affine parameters that are not trivial."""
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=0.1)
    nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="linear")
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.0)
        nn.init.normal_(norm.bias, std=0.2)
    for block in net.modules():
        children = dict(block.named_children())
        # The branch of a residual block stays small beside its shortcut, as in trained networks.
        if "bn2" in children and "bn1" in children:
            nn.init.uniform_(children.get("bn3", children["bn2"]).weight, 0.1, 0.4)
        if isinstance(block, ResBottleneckBlock):
            nn.init.uniform_(block.f.c[1].weight, 0.1, 0.4)
    return norms


def calibrate(net, norms, shape):
    """Running statistics near those of the data, so that frozen batch norm keeps the scale too."""
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(8, *shape[1:]))
    for norm in norms:
        norm.momentum = 0.1
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.2))
        norm.num_batches_tracked.fill_(3)


def set_mode(net, mode):
    net.train(mode == "train")
    for module in net.modules():
        if isinstance(module, (nn.Dropout, StochasticDepth)):
            module.eval()


def watch(net):
    """Collects what goes into every layer with corners."""
    seen = []
    kinds = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.Hardsigmoid, nn.MaxPool2d)
    for module in net.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(lambda m, x: seen.append((m, x[0].detach().double().clone())))
        if isinstance(module, (GooglenetConv, InceptionConv)):
            module.bn.register_forward_hook(lambda m, x, y: seen.append((m, y.detach().double().clone())))
    return seen


def distances(module, x):
    if isinstance(module, (nn.Hardswish, nn.Hardsigmoid)):
        return (x.abs() - 3).abs()
    if not isinstance(module, nn.MaxPool2d):
        return torch.cat([x.abs().flatten(), (x - 6).abs().flatten()]) if isinstance(module, nn.ReLU6) else x.abs()
    size, step, pad = module.kernel_size, module.stride, module.padding
    x = F.pad(x, (pad, pad, pad, pad), value=-1e30)
    windows = x.unfold(2, size, step).unfold(3, size, step).flatten(4)
    best = windows.topk(2, dim=-1).values
    gap = (best[..., 0] - best[..., 1])[best[..., 0] > 0]  # a window of zeros passes no gradient through its relu
    return gap if gap.numel() else torch.ones(1)


def margin(exact, seen64, single, seen32, batch):
    seen64.clear(), seen32.clear()
    with torch.no_grad():
        exact(batch.double()), single(batch)
    smallest = float("inf")
    for (module, x64), (_, x32) in zip(seen64, seen32):
        error = (x64 - x32).pow(2).mean().sqrt().item()
        if error > 0:
            smallest = min(smallest, distances(module, x64).min().item() / error)
    return smallest


def batch_of(seed, shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def search(name, mode):
    """(seed, distance) of the batch whose values stay the farthest from corners."""
    _, nets, shape = prepare(name)
    nets[0].double()
    for net in nets:
        set_mode(net, mode)
    seen = [watch(net) for net in nets]
    best = (-1, -1.0)
    for seed in range(TRIES):
        # In mode 'train' the running statistics drift with each try; nothing that is measured here reads them.
        distance = margin(nets[0], seen[0], nets[1], seen[1], batch_of(seed, shape))
        best = max(best, (seed, distance), key=lambda b: b[1])
        if distance > ENOUGH:
            break
    return best


def run(net, batch, target):
    net.zero_grad()
    outputs = net(batch)
    loss = F.cross_entropy(outputs, target)
    loss.backward()
    results = {"output": outputs.detach(), "loss": loss.detach()}
    results.update({"gradient/" + k: p.grad.clone() for k, p in net.named_parameters()})
    return results


def run_variously(net, batch, target):
    """The same sums in three orders: on sixteen numbers a single run may come out exact by luck."""
    yield run(net, batch, target)
    with torch.backends.mkldnn.flags(enabled=False):
        yield run(net, batch, target)
    turned = run(net, batch.flip(0), target.flip(0))
    yield {**turned, "output": turned["output"].flip(0)}


def sampled(tensor):
    flat = tensor.flatten()
    stride = 1 if flat.numel() <= SAMPLE else next(p for p in PRIMES if flat.numel() / p <= SAMPLE)
    return flat[::stride].double().numpy(), stride


def write_reference(folder, name, mode, seed):
    weights, (exact, single), shape = prepare(name)
    batch = batch_of(seed, shape)
    exact.double()
    set_mode(exact, mode), set_mode(single, mode)
    target = torch.arange(shape[0]) * 3 % CLASSES
    wanted, own = run(exact, batch.double(), target), list(run_variously(single, batch, target))
    listing = []
    with open(f"{folder}/{mode}.bin", "wb") as file:
        for key, value in wanted.items():
            reference, stride = sampled(value)
            error = max(np.linalg.norm(sampled(results[key])[0] - reference) for results in own)
            listing.append({"name": key, "shape": list(value.shape), "stride": stride, "count": len(reference),
                            "norm": float(np.linalg.norm(reference)), "torchError": float(error)})
            file.write(reference.astype("<f8").tobytes())
    with open(f"{folder}/{mode}.json", "w") as file:
        json.dump({"shape": list(shape), "batch": batch.flatten().tolist(), "target": target.tolist(),
                   "tensors": listing}, file)
    write_safetensors(f"{folder}/weights.safetensors", weights)


def write_safetensors(path, tensors):
    header, offset = {}, 0
    kinds = {torch.float32: ("F32", "<f4"), torch.int64: ("I64", "<i8")}
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": kinds[tensor.dtype][0], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().numpy().astype(kinds[tensor.dtype][1]).tobytes())


def network(name):
    auxiliary = {"aux_logits": False, "init_weights": False} if name in ("inception_v3", "googlenet") else {}
    return make(name, num_classes=CLASSES, **auxiliary)


def prepare(name):
    """Weights, two float32 networks that have them, and the shape of a batch."""
    torch.manual_seed(11)
    # Odd and unequal sides, and as small as the network allows: the fewer values, the farther they stay from corners.
    height, width = next((size for start, size in SIZES.items() if name.startswith(start)), (33, 41))
    shape = (2, 3, height, width)
    first = network(name)
    calibrate(first, randomise(first), shape)
    weights = {k: v.clone() for k, v in first.state_dict().items()}
    second = network(name)
    # With its version beside the tensors, which MNASNet asks for.
    second.load_state_dict(first.state_dict())
    return weights, (first, second), shape


def search_both(name):
    """A network without corners has no distance."""
    found = {mode: search(name, mode) for mode in ("frozen", "train")}
    return {mode: {"seed": seed, "distance": round(distance, 2) if distance < float("inf") else None}
            for mode, (seed, distance) in found.items()}


if __name__ == "__main__":
    batches = json.loads(BATCHES.read_text()) if BATCHES.exists() else {}
    if sys.argv[1] == "--search":
        for architecture in sys.argv[2:]:
            batches[architecture] = search_both(architecture)
            print(architecture, batches[architecture], flush=True)
            BATCHES.write_text(json.dumps(batches, indent=2, sort_keys=True) + "\n")
    else:
        architecture, folder = sys.argv[1:]
        chosen = batches.get(architecture) or search_both(architecture)
        for mode in ("frozen", "train"):
            write_reference(folder, architecture, mode, chosen[mode]["seed"])
