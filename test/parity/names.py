"""Prints as JSON, for each architecture named, its tensors in order (name, shape, parameter or state) and for each
parameter how it starts: mean and deviation of the numbers it is drawn from.

Nothing is drawn: PyTorch's initialisers are made to note what they would draw, so that the largest networks take no
memory and no time.
"""

import json
import sys
import warnings

import torch
import torchvision

from networks import make

warnings.filterwarnings("ignore")


def note(tensor, mean, std):
    tensor.start = (mean, std)
    return tensor


def constant(tensor, value):
    note(tensor, float(value), 0.0)
    # Large tensors stay as they were allotted: memory that nobody touches is never taken.
    return tensor.copy_(torch.tensor(value)) if tensor.numel() < 1 << 16 else tensor


torch.Tensor.normal_ = lambda self, mean=0.0, std=1.0, **_: note(self, mean, std)
torch.Tensor.uniform_ = lambda self, a=0.0, b=1.0, **_: note(self, (a + b) / 2, (b - a) / 12**0.5)
torch.Tensor.fill_ = constant
torch.Tensor.zero_ = lambda self: constant(self, 0.0)
# Every network here cuts its normal off so many deviations out that nothing is lost.
torch.nn.init.trunc_normal_ = lambda tensor, mean=0.0, std=1.0, a=-2.0, b=2.0: note(tensor, mean, std)


def start(tensor):
    mean, std = getattr(tensor, "start", None) or (tensor.double().mean().item(), tensor.double().std(unbiased=False).item())
    return {"mean": mean, "std": std}


def pictures(name):
    """How the first of torchvision's published weights are shown pictures; None where it has none."""
    try:
        weights = torchvision.models.get_model_weights(name)
    except ValueError:
        return None
    show = next(iter(weights)).transforms()
    mode = show.interpolation.value
    return {"resize": show.resize_size[0], "crop": show.crop_size[0], "interpolation": mode, "mean": show.mean, "std": show.std}


listing = {}
for name in sys.argv[1:]:
    net = make(name)
    parameters = dict(net.named_parameters())
    listing[name] = {"pictures": pictures(name), "tensors": [
        {"name": key, "shape": list(value.shape), "parameter": key in parameters, **start(parameters.get(key, value))}
        for key, value in net.state_dict().items()
    ]}
json.dump(listing, sys.stdout)
