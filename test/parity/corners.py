"""Batches whose float32 and float64 take the same branches.

A float32 that lands on the other side of a relu's corner than its float64 changes a gradient by far more than rounding
does, by chance. So biases before relus are moved until every value lies far from the corner: in float64, on the
reference alone, before any float32 is looked at. What remains is the choice of a pool between two maxima.
"""

import contextlib

import torch
import torch.nn as nn
import torch.nn.functional as F

# In deviations of what the layer adds (in those of a residual sum shifts would compound):
SHIFTS = torch.linspace(-0.25, 0.25, 65, dtype=torch.float64)  # tried for each bias
SHIFTS = SHIFTS[SHIFTS.abs().argsort()]  # the smallest first: a drift of means would compound too
ENOUGH = 0.003

# Where each function's slope jumps. Modules call these functions, and so do torchvision's networks themselves.
CORNERS = {
    "relu": (0.0,),
    "hardtanh": (0.0, 6.0),  # what a ReLU6 calls
    "leaky_relu": (0.0,),
    "hardswish": (-3.0, 3.0),
    "hardsigmoid": (-3.0, 3.0),
}


@contextlib.contextmanager
def watched(see):
    """Inside, the functions of CORNERS and max_pool2d get what `see(name, x, *args, **options)` returns for x."""
    saved = {name: getattr(F, name) for name in (*CORNERS, "max_pool2d")}

    def watching(name):
        def function(x, *args, **options):
            return saved[name](see(name, x, *args, **options), *args, **options)

        return function

    for name in saved:
        setattr(F, name, watching(name))
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(F, name, function)


def best_shifts(x, at, unit):
    """For each channel of x [N, C, …] what to add so that values stay ENOUGH units from corners, or as far as can be."""
    values = x.transpose(0, 1).flatten(1)
    best, shifts = torch.full((len(values),), -1.0, dtype=x.dtype), torch.zeros(len(values), dtype=x.dtype)
    for shift in unit * SHIFTS:
        left = (best < ENOUGH * unit).nonzero().flatten()
        if not left.numel():
            break
        moved = values[left] + shift
        distance = torch.stack([(moved - corner).abs().amin(1) for corner in at]).amin(0)
        better = left[distance > best[left]]
        best[left], shifts[better] = torch.maximum(best[left], distance), shift
    return shifts


def leave_corners(net, batch):
    """Moves the biases of layers before corners, in place; the layers must have biases."""
    last = [None]

    def remember(module, inputs, output):
        last[0] = (module, output.std().item())

    def move(name, x, *_, **__):
        if name not in CORNERS:
            return x
        layer, unit = last[0]
        shift = best_shifts(x, CORNERS[name], unit)
        layer.bias += shift
        return x + shift.reshape(-1, *[1] * (x.dim() - 2))

    layers = [module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    hooks = [layer.register_forward_hook(remember) for layer in layers]
    with torch.no_grad(), watched(move):
        net(batch)
    for hook in hooks:
        hook.remove()


def gaps(name, x, kernel_size=None, stride=None, padding=0, dilation=1, ceil_mode=False, **_):
    """Distances of values from where the function, called with these options, takes another branch."""
    if name in CORNERS:
        return torch.stack([(x - corner).abs() for corner in CORNERS[name]])
    rest = padding + (kernel_size - 1 if ceil_mode else 0)
    x = F.pad(x, (padding, rest, padding, rest), value=-1e30)
    windows = x.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride).flatten(4)
    best = windows.topk(2, dim=-1).values
    gap = best[..., 0] - best[..., 1]
    # Equal numbers are one number that poolings before have seen twice, or a relu's zeros: no matter which is taken.
    chosen = (gap != 0) & (best[..., 1] > -1e29)
    return gap[chosen] if chosen.any() else torch.ones(1)


def branches(net, batch):
    """What goes into each function with corners: its name, the value, what it is called with."""
    seen = []

    def keep(name, x, *args, **options):
        seen.append((name, x.double().clone(), args, options))
        return x

    with torch.no_grad(), watched(keep):
        net(batch)
    return seen


def margin(exact, single, batch):
    """The smallest distance from a corner of any value, in root mean squares of the layer's float32 error."""
    smallest = float("inf")
    pairs = zip(branches(exact, batch.double()), branches(single, batch))
    for (name, wanted, args, options), (_, own, *_) in pairs:
        error = (wanted - own).pow(2).mean().sqrt().item()
        if error > 0:
            smallest = min(smallest, gaps(name, wanted, *args, **options).min().item() / error)
    return smallest
