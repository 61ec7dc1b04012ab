"""Prints as JSON, for each architecture named, its tensors in order (name, shape, parameter or state) and for each
parameter how it starts: mean and deviation of a new network's values."""

import json
import sys

import torch

from networks import make

torch.manual_seed(0)
listing = {}
for name in sys.argv[1:]:
    net = make(name)
    parameters = dict(net.named_parameters())
    listing[name] = [
        {"name": key, "shape": list(value.shape), "parameter": key in parameters,
         "mean": value.double().mean().item(), "std": value.double().std(unbiased=False).item()}
        for key, value in net.state_dict().items()
    ]
json.dump(listing, sys.stdout)
