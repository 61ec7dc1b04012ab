"""For architectures: random weights, a batch, what PyTorch makes of it in float64, and the error of its float32.

    reference.py FOLDER < names of architectures, one a line

For each line writes into FOLDER, then prints a line of JSON: the files of weights and, for batch norm 'frozen' and
'train' (networks that have none: 'plain'; dropout off), the batch, its targets, and a listing of <mode>.bin: the
output, the loss and the gradient of every parameter of the mean cross-entropy. Tensors of more than SAMPLE elements are
sampled at a stride that is prime, so that it meets every row. A weight of LARGE elements or more has its gradient in the
first network with one of that shape; the others, which have the same weight, name it as frozen.

PyTorch's error is the largest of four float32 runs that sum in different orders (oneDNN, oneDNN on one thread, which
cuts its sums otherwise, PyTorch's own kernels, the batch turned round): on sixteen numbers a single run may come out
exact by luck, and so may a tensor whose error is that of one channel, where a batch norm divides by a small deviation.
"""

import contextlib
import copy
import ctypes
import json
import math
import struct
import sys
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from torchvision.models.convnext import CNBlock
from torchvision.models.regnet import ResBottleneckBlock
from torchvision.ops import StochasticDepth

from corners import leave_corners, margin
from networks import make

warnings.filterwarnings("ignore")
SAMPLE = 1 << 14
LARGE = 1 << 24
CLASSES = 10
FAR = 16.0  # from every corner, in float32's usual errors; a pool's maxima may be closer in a first batch
# These pool so much that hardly a batch keeps all maxima that far apart.
NEARER = {"darknet19": 6.0, "googlenet": 6.0, "inception_v3": 4.0}
TRIES = 20
# Height and width of the pictures, by the beginning of a name; the others get 33 x 41. Odd and unequal sides, and as small
# as the network allows: with fewer pixels in its last layers batch norms would magnify a single rounding a thousand times,
# and those of two numbers have no gradient but rounding.
SIZES = {
    **dict.fromkeys(("alexnet", "densenet", "efficientnet", "mnasnet", "mobilenet", "regnet", "shufflenet"), (65, 73)),
    **{"cifar": (17, 21), "convnext": (35, 67), "darknet53": (65, 73), "darknet19": (33, 65), "googlenet": (33, 65), "inception": (75, 109)},
}


@contextlib.contextmanager
def undrawn():
    """Layers made inside have no weights yet: drawing them twice takes longer than all the rest."""
    names = ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_")
    saved = {name: getattr(nn.init, name) for name in names}
    for name in names:
        setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
    yield
    for name, function in saved.items():
        setattr(nn.init, name, function)


large = {}  # weights by file; the VGGs have the same ones


def draw(folder, layer, gain):
    """He et al. 2015: keeps activations at one scale. Large weights are drawn and written once a shape."""
    weight, shape = layer.weight, tuple(layer.weight.shape)
    if weight.numel() < LARGE:
        return nn.init.normal_(weight, std=gain / math.sqrt(weight[0].numel()))
    path = f"{folder}/large-{shape[0]}-{shape[1]}.safetensors"
    if path not in large:
        generator = torch.Generator().manual_seed(sum(shape))
        large[path] = nn.Parameter(torch.randn(*shape, generator=generator) * (gain / math.sqrt(shape[1])))
        write_safetensors(path, {"weight": large[path].detach()})
    layer.weight = large[path]


def randomise(folder, net):
    """Weights that keep activations at one scale, biases and affine parameters that are not trivial."""
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        draw(folder, layer, math.sqrt(2) if layer is not layers[-1] else 1)
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=0.1)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.0)
        nn.init.normal_(norm.bias, std=0.2)
    for block in net.modules():
        children = dict(block.named_children())
        # The branch of a residual block stays small beside its shortcut, as in trained networks.
        if "bn2" in children and "conv2" in children:
            nn.init.uniform_(children.get("bn3", children["bn2"]).weight, 0.1, 0.4)
        if isinstance(block, ResBottleneckBlock):
            nn.init.uniform_(block.f.c[1].weight, 0.1, 0.4)
        if isinstance(block, CNBlock):
            nn.init.uniform_(block.layer_scale, 0.1, 0.4)
        if isinstance(block, nn.LayerNorm):
            nn.init.uniform_(block.weight, 0.5, 1.0), nn.init.normal_(block.bias, std=0.2)
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


def sampled(tensor):
    flat = tensor.flatten()
    stride = -(-flat.numel() // SAMPLE)
    while stride > 1 and any(stride % p == 0 for p in range(2, math.isqrt(stride) + 1)):
        stride += 1
    return flat[::stride].double().numpy(), stride


def run(net, batch, target):
    outputs = net(batch)
    loss = F.cross_entropy(outputs, target)
    loss.backward()
    tensors = {"output": outputs.detach(), "loss": loss.detach()}
    tensors.update({"gradient/" + k: p.grad for k, p in net.named_parameters() if p.requires_grad})
    results = {name: (list(t.shape), *sampled(t)) for name, t in tensors.items()}
    net.zero_grad(set_to_none=True)  # a gigabyte, which the next network to run needs for its own
    return results


def run_variously(net, batch, target):
    yield run(net, batch, target)
    with torch.backends.mkldnn.flags(enabled=False):
        yield run(net, batch, target)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run(net, batch, target)
    torch.set_num_threads(threads)
    turned = run(net, batch.flip(0), target.flip(0))
    shape, output, stride = turned["output"]
    yield {**turned, "output": (shape, output.reshape(shape)[::-1].flatten(), stride)}


def put(net, tensors):
    """Parameters by name; MNASNet's own load_state_dict wants more than that."""
    with torch.no_grad():
        for name, value in tensors.items():
            net.get_parameter(name).copy_(value)


def batch_for(mode, exact, single, biases, shape, far):
    """A batch, and weights that keep it `far` off the corners in both networks."""
    for seed in range(TRIES):
        batch = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
        put(exact, biases)
        leave_corners(exact, batch.double())
        moved = {k: v.detach().float() for k, v in exact.named_parameters() if v.dim() == 1}
        put(exact, moved), put(single, moved)
        distance = margin(exact, single, batch)
        if distance > far:
            return batch, moved
    raise SystemExit(f"no batch keeps off the corners in mode {mode}")


def write_mode(folder, mode, exact, single, biases, shape, far):
    set_mode(exact, mode), set_mode(single, mode)
    batch, moved = batch_for(mode, exact, single, biases, shape, far)
    write_safetensors(f"{folder}/{mode}.safetensors", moved)
    target = torch.arange(shape[0]) * 3 % CLASSES
    wanted, own = run(exact, batch.double(), target), list(run_variously(single, batch, target))
    listing = []
    with open(f"{folder}/{mode}.bin", "wb") as file:
        for key, (dimensions, reference, stride) in wanted.items():
            error = max(np.linalg.norm(results[key][1] - reference) for results in own)
            listing.append(
                {
                    "name": key,
                    "shape": dimensions,
                    "stride": stride,
                    "count": len(reference),
                    "norm": float(np.linalg.norm(reference)),
                    "torchError": float(error),
                }
            )
            reference.astype("<f8").tofile(file)
    return {
        "mode": mode,
        "shape": list(shape),
        "batch": batch.flatten().tolist(),
        "target": target.tolist(),
        "weights": f"{folder}/{mode}.safetensors",
        "numbers": f"{folder}/{mode}.bin",
        "tensors": listing,
    }


def write_safetensors(path, tensors):
    header, offset = {}, 0
    kinds = {torch.float32: ("F32", "<f4"), torch.int64: ("I64", "<i8")}
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": kinds[tensor.dtype][0],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            tensor.contiguous().numpy().astype(kinds[tensor.dtype][1], copy=False).tofile(file)


def write_reference(folder, name):
    torch.manual_seed(11)
    height, width = next((size for start, size in SIZES.items() if name.startswith(start)), (33, 41))
    shape = (2, 3, height, width)
    with undrawn():
        auxiliary = {"aux_logits": False, "init_weights": False} if name in ("inception_v3", "googlenet") else {}
        single = make(name, num_classes=CLASSES, **auxiliary)
    before = set(large)
    norms = randomise(folder, single)
    calibrate(single, norms, shape)
    shared = {k: path for path, w in large.items() for k, v in single.named_parameters() if v is w}
    frozen = [k for k, path in shared.items() if path in before]
    for key in frozen:
        single.get_parameter(key).requires_grad_(False)
    write_safetensors(
        f"{folder}/weights.safetensors", {k: v for k, v in single.state_dict().items() if k not in shared}
    )
    exact = copy.deepcopy(single).double()
    biases = {k: v.detach().clone() for k, v in single.named_parameters() if v.dim() == 1}
    names = ("frozen", "train") if norms else ("plain",)
    far = NEARER.get(name, FAR)
    modes = [write_mode(folder, mode, exact, single, biases, shape, far) for mode in names]
    return {"weights": f"{folder}/weights.safetensors", "large": shared, "frozen": frozen, "modes": modes}


def give_back():
    """The heap is told to keep its pages (test/python.ts); after a network of gigabytes others need them more."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # the C library is another one
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(write_reference(sys.argv[1], line.strip())), flush=True)
        give_back()
