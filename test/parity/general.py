"""Small networks that pictures alone would never ask for, in PyTorch with float64: prints JSON with weights, inputs, losses
and gradients. general.test.ts builds the same graphs in thaw."""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(7)
cases = {}


def tensor(t):
    return {"shape": list(t.shape), "data": t.detach().flatten().tolist()}


def record(name, params, steps, frozen=(), expected_states=None):
    """Each step is (inputs, function from parameters to a list of weighted losses)."""
    out = []
    for inputs, function in steps:
        leaves = {k: v.clone().requires_grad_(k not in frozen) for k, v in params.items()}
        losses, weights, states = function(leaves)
        sum(w * l for w, l in zip(weights, losses)).backward()
        out.append(
            {
                "inputs": {k: tensor(v) for k, v in inputs.items()},
                "losses": [l.item() for l in losses],
                "gradients": {k: tensor(v.grad) for k, v in leaves.items() if v.grad is not None},
                "states": {k: tensor(v) for k, v in states.items()},
            }
        )
    cases[name] = {"parameters": {k: tensor(v) for k, v in params.items()}, "frozen": list(frozen), "steps": out}


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64) * 0.5


# A tied embedding: the same weight looks words up and scores them; its gradient has a sparse and a dense part.
V, D = 11, 6
params = {"embed.weight": rand(V, D), "mix.weight": rand(D, D), "mix.bias": rand(D)}
words, target = torch.tensor([[1, 4, 4], [9, 0, 2]]), torch.tensor([[4, 4, 7], [0, 2, 10]])


def tied(p):
    h = torch.tanh(F.linear(F.embedding(words, p["embed.weight"]), p["mix.weight"], p["mix.bias"]))
    scores = F.linear(h, p["embed.weight"])
    return [F.cross_entropy(scores.reshape(-1, V), target.reshape(-1))], [1.0], {}


record("tied embedding", params, [({"words": words, "target": target.reshape(-1)}, tied)])


# An embedding alone: the gradient stays rows and indices.
def untied(p):
    h = F.embedding(words, p["embed.weight"])
    scores = F.linear(h, p["out.weight"])
    return [F.cross_entropy(scores.reshape(-1, 5), target.reshape(-1) % 5)], [1.0], {}


record("embedding rows", {"embed.weight": rand(V, D), "out.weight": rand(5, D)}, [({"words": words, "target": target.reshape(-1) % 5}, untied)])

# A masked loss at two lengths of one graph.
params = {"out.weight": rand(4, 5), "out.bias": rand(4)}
steps = []
for length in (3, 6):
    x, t = rand(2, length, 5), torch.randint(0, 4, (2, length))
    mask = (torch.rand(2, length) < 0.6).double()
    mask[0, 0] = 1

    def masked(p, x=x, t=t, mask=mask):
        scores = F.linear(x, p["out.weight"], p["out.bias"]).reshape(-1, 4)
        each = F.cross_entropy(scores, t.reshape(-1), reduction="none")
        return [(each * mask.reshape(-1)).sum() / mask.sum()], [1.0], {}

    steps.append(({"x": x, "target": t.reshape(-1), "mask": mask.reshape(-1)}, masked))
record("masked loss at two lengths", params, steps)

# A recurrent state carried over two steps and detached between them.
params = {"in.weight": rand(6, 3), "in.bias": rand(6), "hidden.weight": rand(6, 6), "out.weight": rand(2, 6)}
state = torch.zeros(2, 6, dtype=torch.float64)
steps = []
for _ in range(2):
    x, t = rand(2, 3), torch.randint(0, 2, (2,))

    def recurrent(p, x=x, t=t, h=state.clone()):
        new = torch.tanh(F.linear(x, p["in.weight"], p["in.bias"]) + F.linear(h, p["hidden.weight"]))
        return [F.cross_entropy(F.linear(new, p["out.weight"]), t)], [1.0], {"h": new}

    with torch.no_grad():
        state = recurrent(params)[2]["h"]
    steps.append(({"x": x, "target": t}, recurrent))
record("recurrent state", params, steps)

# A computed weight: convolution with w * mask + a @ b (a low-rank adapter on a frozen weight).
params = {"w": rand(4, 3 * 9), "a": rand(4, 2), "b": rand(2, 3 * 9)}
x, t = rand(2, 3, 7, 7), torch.randint(0, 4, (2,))


def computed(p):
    weight = (p["w"] + p["a"] @ p["b"]).reshape(4, 3, 3, 3)
    return [F.cross_entropy(F.conv2d(x, weight, padding=1).relu().mean((2, 3)), t)], [1.0], {}


record("computed weight", params, [({"x": x, "target": t}, computed)], frozen=["w"])

# Two weighted losses on two heads.
params = {"body.weight": rand(6, 4), "a.weight": rand(3, 6), "b.weight": rand(1, 6)}
x, t, y = rand(5, 4), torch.randint(0, 3, (5,)), rand(5, 1)


def two(p):
    h = F.linear(x, p["body.weight"]).relu()
    return [F.cross_entropy(F.linear(h, p["a.weight"]), t), F.mse_loss(F.linear(h, p["b.weight"]), y)], [1.0, 0.25], {}


record("two weighted losses", params, [({"x": x, "target": t, "value": y}, two)])

# A cut inside a residual block: the shortcut and the first convolution are frozen, the second is trained.
params = {"c1.weight": rand(8, 3, 3, 3), "c2.weight": rand(8, 8, 3, 3), "ds.weight": rand(8, 3, 1, 1), "fc.weight": rand(3, 8)}
x, t = rand(3, 3, 9, 9), torch.randint(0, 3, (3,))


def residual(p):
    first = F.conv2d(x, p["c1.weight"], padding=1).relu()
    block = (F.conv2d(first, p["c2.weight"], padding=1) + F.conv2d(x, p["ds.weight"])).relu()
    return [F.cross_entropy(F.linear(block.mean((2, 3)), p["fc.weight"]), t)], [1.0], {}


record("cut inside a residual block", params, [({"x": x, "target": t}, residual)], frozen=["c1.weight", "ds.weight"])

# A frozen layer (and a frozen batch norm) above a trained one.
params = {
    "c1.weight": rand(8, 3, 3, 3), "bn.weight": rand(8), "bn.bias": rand(8), "bn.running_mean": rand(8),
    "bn.running_var": rand(8).abs() + 0.5, "c2.weight": rand(4, 8, 1, 1), "fc.weight": rand(3, 4),
}
frozen = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "c2.weight"]


def above(p):
    h = F.conv2d(x, p["c1.weight"], stride=2)
    h = F.batch_norm(h, p["bn.running_mean"], p["bn.running_var"], p["bn.weight"], p["bn.bias"], training=False)
    h = F.conv2d(F.silu(h), p["c2.weight"])
    return [F.cross_entropy(F.linear(h.mean((2, 3)), p["fc.weight"]), t)], [1.0], {}


record("frozen layers above a trained one", params, [({"x": x, "target": t}, above)], frozen=frozen)

print(json.dumps(cases))
