"""Every operator of the catalogue in PyTorch: for each case some sets of random operands, what float64 makes of them
(outputs, and the gradients of all float operands), and the error of float32.

    operators.py FILE

prints the cases as JSON; FILE takes all their numbers as float64. A case is a node of a graph: operators.test.ts runs
the same. Every output is multiplied by random numbers and summed to one loss, but for losses themselves. 'behind' cases
read the output of a 1 x 1 convolution instead of an operand, so that thaw has it in its blocked layout.
Dropout, whose draws are thaw's own, is not among them.
"""

import json
import sys

import numpy as np
import torch

import operator_case
from operators_of_elements import activations, elementwise, embeddings, pools, reductions, shapes
from operators_of_layers import convolutions, norms, products
from operators_of_losses import losses

torch.manual_seed(5)
for part in (convolutions, products, norms, activations, elementwise, pools, shapes, reductions, embeddings, losses):
    part()
np.concatenate(operator_case.numbers).tofile(sys.argv[1])
json.dump(operator_case.cases, sys.stdout)
