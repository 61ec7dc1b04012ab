"""Cases of operators: drawn, evaluated in float64 and float32, and kept for operators.py to write."""

import torch
import torch.nn.functional as F

DRAWS = 4
cases, numbers, offset = [], [], 0


class Given:
    """An operand that no gradient is asked of: a function that draws it."""

    def __init__(self, draw, kind="parameter"):
        self.draw, self.kind = draw, kind


def store(tensor):
    global offset
    numbers.append(tensor.detach().double().flatten().numpy().astype("<f8"))
    offset += tensor.numel()
    return {"shape": list(tensor.shape), "at": offset - tensor.numel()}


def draw(spec):
    if isinstance(spec, Given):
        return spec.draw()
    shape, size = (spec[:-1], spec[-1]) if isinstance(spec[-1], float) else (spec, 1.0)
    return torch.randn(*shape) * size


def evaluate(function, operands, weights, trained, dtype):
    leaves = {k: (v.to(dtype) if v.is_floating_point() else v).clone() for k, v in operands.items()}
    for name in trained:
        leaves[name].requires_grad_(True)
    outputs = function(**leaves)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    loss = outputs[0] if weights is None else (outputs[0] * weights.to(dtype)).sum()
    loss.backward()
    results = {f"output {i}": y.detach() for i, y in enumerate(outputs)}
    results.update({"gradient/" + k: leaves[k].grad for k in trained})
    return results


def errors(function, operands, weights, trained, wanted):
    """The larger of two float32 runs: oneDNN's kernels and PyTorch's own."""
    runs = []
    for enabled in (True, False):
        with torch.backends.mkldnn.flags(enabled=enabled):
            runs.append(evaluate(function, operands, weights, trained, torch.float32))
    return {k: max((run[k].double() - v).norm().item() for run in runs) for k, v in wanted.items()}


def case(name, op, specs, attrs, function, extra_outputs=0):
    """Operands in the order of the node's; None leaves an optional one out. `function` takes those that are there."""
    present = {k: v for k, v in specs.items() if v is not None}
    trained = [k for k, v in present.items() if not isinstance(v, Given)]
    is_loss = op in ("cross_entropy", "binary_cross_entropy", "mean_squared_error")
    entry = {
        "name": name,
        "op": op,
        "attrs": attrs,
        "inputs": [k if v is not None else None for k, v in specs.items()],
        "trained": trained,
        "kinds": {k: v.kind if isinstance(v, Given) else "parameter" for k, v in present.items()},
        "dtypes": {},
        "extraOutputs": extra_outputs,
        "loss": is_loss,
        "draws": [],
    }
    for _ in range(DRAWS):
        operands = {k: draw(v) for k, v in present.items()}
        entry["dtypes"] = {
            k: "f32" if v.is_floating_point() else "bool" if v.dtype == torch.bool else "i64"
            for k, v in operands.items()
        }
        if is_loss:
            weights = None
        else:
            first = function(**operands)
            weights = torch.randn_like(first[0] if isinstance(first, tuple) else first)
        wanted = evaluate(function, operands, weights, trained, torch.float64)
        error = errors(function, operands, weights, trained, wanted)
        entry["draws"].append(
            {
                "operands": {k: store(v) for k, v in operands.items()},
                "weights": None if weights is None else store(weights),
                "wanted": [{"name": k, "torchError": error[k], **store(v)} for k, v in wanted.items()],
            }
        )
    cases.append(entry)


def both(name, op, shape, attrs, function):
    """A function of one picture: of a plain one, and of a convolution's output."""
    case(name, op, {"x": shape}, attrs, function)
    behind = {"x": shape, "w": (shape[1], shape[1], 1, 1, shape[1] ** -0.5)}
    case(f"{name}, behind", op, behind, attrs, lambda x, w: function(F.conv2d(x, w)))
    cases[-1].update(inputs=["x"], behind="w")
