"""Batches whose float32 and float64 take the same branches.

A float32 that lands on the other side of a relu's corner than its float64 changes a gradient by far more than rounding
does, by chance. So biases before relus are moved until every value lies far from the corner: in float64, on the
reference alone, before any float32 is looked at. What remains is the choice of a pool between two maxima.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

# In deviations of what the layer adds (in those of a residual sum shifts would compound):
SHIFTS = torch.linspace(-0.25, 0.25, 65, dtype=torch.float64)  # tried for each bias
SHIFTS = SHIFTS[SHIFTS.abs().argsort()]  # the smallest first: a drift of means would compound too
ENOUGH = 0.003


def corners(module):
    return (0.0, 6.0) if isinstance(module, nn.ReLU6) else (0.0,)


def best_shifts(x, at, unit):
    """For each channel of x [N, C, …] what to add so that values stay ENOUGH units from corners, or as far as can be."""
    values = x.transpose(0, 1).flatten(1)
    moved = values[:, None, :] + unit * SHIFTS[None, :, None]
    distance = torch.stack([(moved - corner).abs().amin(-1) for corner in at]).amin(0)
    return unit * SHIFTS[distance.clamp(max=ENOUGH * unit).max(1).indices]


def leave_corners(net, batch):
    """Moves the biases of layers before relus, in place; the layers must have biases."""
    last, hooks = [None], []

    def remember(module, inputs, output):
        last[0] = (module, output.std().item())

    def move(module, inputs):
        layer, unit = last[0]
        shift = best_shifts(inputs[0], corners(module), unit)
        layer.bias += shift
        return inputs[0] + shift.reshape(-1, *[1] * (inputs[0].dim() - 2))

    for module in net.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
            hooks.append(module.register_forward_pre_hook(move))
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
            hooks.append(module.register_forward_hook(remember))
    with torch.no_grad():
        net(batch)
    for hook in hooks:
        hook.remove()


def gaps(module, x):
    """Distances of values from where the layer takes another branch."""
    if not isinstance(module, nn.MaxPool2d):
        return torch.stack([(x - corner).abs() for corner in corners(module)])
    size, step, pad = module.kernel_size, module.stride, module.padding
    x = F.pad(x, (pad, pad, pad, pad), value=-1e30)
    windows = x.unfold(2, size, step).unfold(3, size, step).flatten(4)
    best = windows.topk(2, dim=-1).values
    gap = (best[..., 0] - best[..., 1])[best[..., 0] > 0]  # a window of zeros passes no gradient through its relu
    return gap if gap.numel() else torch.ones(1)


def inputs_of_corners(net, batch):
    seen = []
    kinds = (nn.ReLU, nn.ReLU6, nn.MaxPool2d)
    keep = lambda module, x: seen.append((module, x[0].double().clone()))
    hooks = [m.register_forward_pre_hook(keep) for m in net.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        net(batch)
    for hook in hooks:
        hook.remove()
    return seen


def margin(exact, single, batch):
    """The smallest distance from a corner of any value, in root mean squares of the layer's float32 error."""
    smallest = float("inf")
    pairs = zip(inputs_of_corners(exact, batch.double()), inputs_of_corners(single, batch))
    for (module, wanted), (_, own) in pairs:
        error = (wanted - own).pow(2).mean().sqrt().item()
        if error > 0:
            smallest = min(smallest, gaps(module, wanted).min().item() / error)
    return smallest
