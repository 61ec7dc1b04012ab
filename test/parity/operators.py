"""Every operator of the catalogue in PyTorch: for each case DRAWS sets of random operands, what float64 makes of them
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
import torch.nn.functional as F

DRAWS = 4
torch.manual_seed(5)
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
    entry = {"name": name, "op": op, "attrs": attrs, "inputs": [k if v is not None else None for k, v in specs.items()],
             "trained": trained, "kinds": {k: v.kind if isinstance(v, Given) else "parameter" for k, v in present.items()},
             "dtypes": {}, "extraOutputs": extra_outputs, "loss": is_loss, "draws": []}
    for _ in range(DRAWS):
        operands = {k: draw(v) for k, v in present.items()}
        entry["dtypes"] = {k: "f32" if v.is_floating_point() else "bool" if v.dtype == torch.bool else "i64" for k, v in operands.items()}
        if is_loss:
            weights = None
        else:
            first = function(**operands)
            weights = torch.randn_like(first[0] if isinstance(first, tuple) else first)
        wanted = evaluate(function, operands, weights, trained, torch.float64)
        error = errors(function, operands, weights, trained, wanted)
        entry["draws"].append({"operands": {k: store(v) for k, v in operands.items()}, "weights": None if weights is None else store(weights),
                               "wanted": [{"name": k, "torchError": error[k], **store(v)} for k, v in wanted.items()]})
    cases.append(entry)


def both(name, op, shape, attrs, function):
    """A function of one picture: of a plain one, and of a convolution's output."""
    case(name, op, {"x": shape}, attrs, function)
    behind = {"x": shape, "w": (shape[1], shape[1], 1, 1, shape[1] ** -0.5)}
    case(f"{name}, behind", op, behind, attrs, lambda x, w: function(F.conv2d(x, w)))
    cases[-1].update(inputs=["x"], behind="w")


def conv2d(name, x, weight, bias=True, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    top, left, bottom, right = padding

    def function(x, weight, bias=None):
        if top == bottom and left == right:
            return F.conv2d(x, weight, bias, stride, (top, left), dilation, groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups)

    attrs = {"stride": list(stride), "padding": list(padding), "dilation": list(dilation), "groups": groups}
    specs = {"x": x, "weight": (*weight, 0.2), "bias": (weight[0],) if bias else None}
    case(f"conv2d {name}", "conv2d", specs, attrs, function)


def convolutions():
    ones = (1, 1, 1, 1)
    for inner, outer in [(1, 3), (3, 16), (16, 24), (24, 58), (58, 116), (116, 1)]:
        conv2d(f"{inner} to {outer} channels", (2, inner, 7, 9), (outer, inner, 3, 3), padding=ones)
        conv2d(f"{inner} to {outer} channels, 1 x 1", (2, inner, 5, 7), (outer, inner, 1, 1), bias=False)
    conv2d("7 x 7, stride 2", (2, 3, 17, 19), (16, 3, 7, 7), stride=(2, 2), padding=(3, 3, 3, 3))
    conv2d("11 x 11, stride 4", (1, 3, 27, 31), (24, 3, 11, 11), stride=(4, 4), padding=(2, 2, 2, 2))
    conv2d("5 x 3, stride 2 x 1, asymmetric padding", (2, 16, 9, 11), (24, 16, 5, 3), stride=(2, 1), padding=(2, 0, 1, 2))
    conv2d("asymmetric padding, stride 2", (2, 24, 8, 8), (16, 24, 3, 3), stride=(2, 2), padding=(0, 0, 1, 1))
    conv2d("dilation 2", (2, 24, 11, 9), (16, 24, 3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
    conv2d("dilation 3 x 2, stride 2", (2, 3, 13, 12), (58, 3, 3, 3), stride=(2, 2), padding=(3, 1, 3, 1), dilation=(3, 2))
    conv2d("1 x 1, stride 2", (2, 58, 9, 7), (116, 58, 1, 1), stride=(2, 2), bias=False)
    for groups, inner, outer in [(2, 58, 116), (2, 16, 24), (3, 24, 3), (32, 128, 128), (4, 64, 32)]:
        conv2d(f"{groups} groups, {inner} to {outer}", (2, inner, 7, 5), (outer, inner // groups, 3, 3), padding=ones, groups=groups)
    for channels in (1, 3, 16, 24, 58, 116):
        conv2d(f"depthwise {channels}", (2, channels, 9, 7), (channels, 1, 3, 3), padding=ones, groups=channels)
    conv2d("depthwise 24, stride 2, 5 x 5", (2, 24, 9, 11), (24, 1, 5, 5), stride=(2, 2), padding=(2, 2, 2, 2), groups=24)
    conv2d("depthwise 58, twice the channels", (2, 58, 7, 7), (116, 1, 3, 3), padding=ones, groups=58)
    conv2d("one output pixel", (3, 24, 3, 3), (58, 24, 3, 3))


def products():
    linear = lambda x, weight, bias=None: F.linear(x, weight, bias)
    for shape, outer, bias in [((3, 17), 10, True), ((2, 3, 58), 116, False), ((1, 300), 1, True), ((33, 16), 24, True), ((5, 1), 3, True)]:
        specs = {"x": shape, "weight": (outer, shape[-1], 0.3), "bias": (outer,) if bias else None}
        case(f"linear {shape} to {outer}", "linear", specs, {}, linear)
    for a, b, left, right in [((5, 7), (7, 9), False, False), ((2, 3, 7, 5), (2, 3, 7, 18), True, False), ((4, 33, 20), (17, 20), False, True),
                              ((3, 1, 6, 5), (2, 4, 6), True, True), ((1, 257), (257, 1), False, False)]:
        turn = lambda t, yes: t.transpose(-1, -2) if yes else t
        function = lambda a, b, left=left, right=right: turn(a, left) @ turn(b, right)
        case(f"matmul {a}{' turned' * left} {b}{' turned' * right}", "matmul", {"a": a, "b": b},
             {"transpose_a": left, "transpose_b": right}, function)


def norms():
    positive = lambda *shape: Given(lambda: torch.rand(*shape) + 0.5, "state")
    for shape in [(2, 3, 5, 7), (4, 16, 3, 3), (2, 58, 9, 7), (3, 24), (2, 116, 1, 1), (2, 24, 15, 13)]:
        c = shape[1]
        for affine in (True, False):
            specs = {"x": shape, "weight": (c,) if affine else None, "bias": (c,) if affine else None,
                     "running_mean": Given(lambda c=c: torch.randn(c), "state"), "running_var": positive(c),
                     "num_batches_tracked": Given(lambda: torch.tensor(3), "state")}
            for mode in ("frozen", "statistics", "train"):

                def function(x, running_mean, running_var, num_batches_tracked, weight=None, bias=None, mode=mode):
                    mean, var = running_mean.clone(), running_var.clone()
                    y = F.batch_norm(x, mean, var, weight, bias, training=mode != "frozen", momentum=0.2, eps=1e-4)
                    if mode == "frozen":
                        return y
                    axes = [0, *range(2, x.dim())]
                    spread = (x.var(axes, unbiased=False) + 1e-4).rsqrt()
                    return y, x.mean(axes), spread, mean, var

                extra = 0 if mode == "frozen" else 4
                case(f"batch_norm {mode} {shape}{' affine' * affine}", "batch_norm", specs,
                     {"mode": mode, "momentum": 0.2, "eps": 1e-4}, function, extra)
    for shape, normalized in [((3, 5, 17), [17]), ((2, 4, 5, 6), [5, 6]), ((7, 300), [300])]:
        for affine in (True, False):
            layer = lambda x, weight=None, bias=None, n=normalized: F.layer_norm(x, n, weight, bias, 1e-5)
            specs = {"x": shape, "weight": tuple(normalized) if affine else None, "bias": tuple(normalized) if affine else None}
            case(f"layer_norm {shape} over {normalized}{' affine' * affine}", "layer_norm", specs,
                 {"normalized_shape": normalized, "eps": 1e-5}, layer)
    for channels, size, alpha, beta, k in [(24, 5, 1e-4, 0.75, 1.0), (58, 5, 0.5, 0.75, 2.0), (16, 3, 1.0, 0.5, 1.0), (3, 5, 0.3, 0.75, 1.0), (17, 4, 0.2, 1.0, 1.5)]:
        both(f"local_response_norm {channels} channels, {size}, {alpha}, {beta}, {k}", "local_response_norm", (2, channels, 5, 7, 3.0),
             {"size": size, "alpha": alpha, "beta": beta, "k": k}, lambda x, a=(size, alpha, beta, k): F.local_response_norm(x, *a))


def activations():
    kinds = {"relu": F.relu, "relu6": F.relu6, "leaky_relu": F.leaky_relu, "hard_swish": F.hardswish, "hard_sigmoid": F.hardsigmoid,
             "silu": F.silu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu}
    for op, kind in kinds.items():
        function = lambda x, kind=kind: kind(x)
        both(op, op, (2, 24, 7, 9, 4.0), {}, function)
        case(f"{op} near zero", op, {"x": (333, 0.05)}, {}, function)
        case(f"{op} far out", op, {"x": (333, 40.0)}, {}, function)
    both("leaky_relu 0.2", "leaky_relu", (2, 17, 5, 5, 4.0), {"alpha": 0.2}, lambda x: F.leaky_relu(x, 0.2))
    both("gelu tanh", "gelu", (2, 17, 5, 5, 4.0), {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh"))


def elementwise():
    for a, b in [((2, 24, 5, 7), (2, 24, 5, 7)), ((2, 17, 5, 7), (1, 17, 1, 1)), ((3, 1, 5), (4, 1)), ((6,), ()), ((2, 58, 3, 3), (3,))]:
        case(f"add {a} {b}", "add", {"a": a, "b": b} if b else {"a": a, "b": Given(lambda: torch.randn(()))}, {}, lambda a, b: a + b)
        case(f"multiply {a} {b}", "multiply", {"a": a, "b": b} if b else {"a": a, "b": Given(lambda: torch.randn(()))}, {}, lambda a, b: a * b)
    both("scale by a number", "scale", (2, 17, 3, 5), {"factor": 0.3}, lambda x: x * 0.3)
    case("scale by a value", "scale", {"x": (3, 33), "s": Given(lambda: torch.randn(()))}, {"factor": 2.5}, lambda x, s: x * 2.5 * s)
    for shape, to in [((4, 17, 3), [17, 3]), ((4, 17, 3), [1, 17, 1]), ((2, 24, 5, 7), [1, 24, 1, 1]), ((9, 5), [])]:
        case(f"sum_to {shape} {to}", "sum_to", {"x": shape}, {"shape": to}, lambda x, to=to: x.sum_to_size(*to) if to else x.sum())


def pools():
    for channels, size, kernel, stride, padding, ceil in [(24, (9, 11), (3, 3), (2, 2), (0, 0), False), (64, (9, 11), (3, 3), (2, 2), (1, 1), False),
                                                          (17, (8, 10), (3, 3), (2, 2), (0, 0), True), (3, (7, 5), (2, 2), (2, 2), (0, 0), True),
                                                          (58, (6, 9), (3, 2), (1, 3), (1, 0), True), (16, (13, 13), (5, 5), (3, 3), (2, 2), True),
                                                          (1, (4, 4), (2, 2), (2, 2), (0, 0), False), (24, (6, 6), (3, 3), (3, 3), (1, 1), True)]:
        attrs = {"kernel": list(kernel), "stride": list(stride), "padding": [*padding, *padding], "ceil_mode": ceil}
        name = f"{channels} channels, {size}, {kernel} / {stride} + {padding}{' ceil' * ceil}"
        both(f"max_pool {name}", "max_pool", (2, channels, *size), attrs, lambda x, a=(kernel, stride, padding, 1, ceil): F.max_pool2d(x, *a))
        for counted in (True, False):
            both(f"average_pool {name}{' counted' * counted}", "average_pool", (2, channels, *size), {**attrs, "count_include_pad": counted},
                 lambda x, a=(kernel, stride, padding, ceil, counted): F.avg_pool2d(x, *a))
    both("max_pool dilated", "max_pool", (2, 17, 9, 9), {"kernel": [3, 3], "stride": [2, 2], "dilation": [2, 2], "padding": [1, 1, 1, 1]},
         lambda x: F.max_pool2d(x, 3, 2, 1, 2))
    for size, to in [((7, 7), (3, 5)), ((13, 9), (6, 6)), ((2, 3), (7, 7)), ((1, 1), (7, 7)), ((5, 6), (7, 1)), ((12, 8), (6, 4)), ((1, 2), (1, 1))]:
        both(f"adaptive_average_pool {size} to {to}", "adaptive_average_pool", (2, 24, *size), {"output_size": list(to)},
             lambda x, to=to: F.adaptive_avg_pool2d(x, to))
    for channels in (3, 16, 58):
        both(f"global_average_pool {channels}", "global_average_pool", (3, channels, 7, 9), {}, lambda x: x.mean((2, 3), keepdim=True))
        both(f"global_max_pool {channels}", "global_max_pool", (3, channels, 7, 9), {}, lambda x: x.amax((2, 3), keepdim=True))


def shapes():
    for channels in ((3, 5, 16, 1), (24, 58), (16, 32), (17, 1, 30)):
        specs = {f"x{i}": (2, c, 5, 3) for i, c in enumerate(channels)}
        case(f"concat of {channels} channels", "concat", specs, {"axis": 1}, lambda **xs: torch.cat(list(xs.values()), 1))
    case("concat of rows", "concat", {"a": (2, 3, 4), "b": (2, 5, 4)}, {"axis": -2}, lambda a, b: torch.cat((a, b), 1))
    case("concat of pictures", "concat", {"a": (2, 17, 3, 3), "b": (1, 17, 3, 3)}, {"axis": 0}, lambda a, b: torch.cat((a, b), 0))
    x = (2, 24, 7, 9)
    both("slice of channels", "slice", x, {"axis": 1, "start": 3, "end": 20}, lambda x: x[:, 3:20])
    both("slice of channels from 16", "slice", x, {"axis": 1, "start": 16}, lambda x: x[:, 16:])
    both("slice of columns in steps", "slice", x, {"axis": 3, "start": 1, "end": -1, "step": 3}, lambda x: x[..., 1:-1:3])
    both("slice from the end", "slice", x, {"axis": -2, "start": -3}, lambda x: x[:, :, -3:])
    both("pad", "pad", x, {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}, lambda x: F.pad(x, (2, 0, 1, 3)))
    both("pad channels", "pad", x, {"pads": [0, 5, 0, 0, 0, 3, 0, 0], "value": 1.5}, lambda x: F.pad(x, (0, 0, 0, 0, 5, 3), value=1.5))
    both("flatten", "flatten", x, {}, lambda x: x.flatten(1))
    both("reshape", "reshape", x, {"shape": [0, -1, 3, 3]}, lambda x: x.reshape(2, -1, 3, 3))
    both("transpose", "transpose", x, {"perm": [0, 2, 3, 1]}, lambda x: x.permute(0, 2, 3, 1))
    both("transpose of all", "transpose", x, {"perm": [3, 1, 0, 2]}, lambda x: x.permute(3, 1, 0, 2))


def reductions():
    for axes, keep in [([1], False), ([2, 3], True), ([0, 1, 2, 3], False), ([0, 2], False), ([-1], True)]:
        for kind, function in [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)]:
            both(f"reduce {kind} {axes}{' kept' * keep}", "reduce", (3, 17, 5, 7), {"kind": kind, "axes": axes, "keepdims": keep},
                 lambda x, f=function, a=axes, k=keep: f(x, a, keepdim=k))
    for shape, axis in [((4, 10), -1), ((3, 1000), 1), ((2, 17, 5, 3), 1), ((2, 3, 33), 2), ((5, 4), 0)]:
        case(f"softmax {shape} along {axis}", "softmax", {"x": (*shape, 3.0)}, {"axis": axis}, lambda x, axis=axis: F.softmax(x, axis))


def embeddings():
    for padding in (-1, 4):
        case(f"embedding, padding {padding}", "embedding", {"indices": Given(lambda: torch.randint(0, 11, (4, 7)), "input"), "weight": (11, 33)},
             {"padding_index": padding}, lambda indices, weight, p=padding: F.embedding(indices, weight, None if p < 0 else p))


def weighted_cross_entropy(scores, target, weights=None, mask=None, smoothing=0.0, ignore=-100, reduction="mean"):
    each = F.cross_entropy(scores, target, weights, ignore_index=ignore, reduction="none", label_smoothing=smoothing)
    counted = torch.ones_like(each) if target.is_floating_point() else (target != ignore).to(each.dtype)
    if weights is not None and not target.is_floating_point():
        counted = counted * weights[target.clamp(0)]
    factor = 1 if mask is None else mask.to(each.dtype)
    total = (each * factor).sum()
    return total / (counted * factor).sum() if reduction == "mean" else total


def losses():
    for n, c, rest in [(5, 10, ()), (3, 1000, ()), (2, 17, (5, 3)), (64, 2, ())]:
        target = Given(lambda n=n, c=c, rest=rest: torch.randint(0, c, (n, *rest)), "input")

        def holed(n=n, c=c, rest=rest):
            t = torch.randint(0, c, (n, *rest))
            t.view(-1)[::3] = -100
            return t

        soft = Given(lambda n=n, c=c, rest=rest: torch.randn(n, c, *rest).softmax(1), "input")
        weights = Given(lambda c=c: torch.rand(c) + 0.2, "input")
        mask = Given(lambda n=n, rest=rest: torch.arange(n * max(1, int(np.prod(rest)))).reshape(n, *rest) % 3 != 1, "input")
        degrees = Given(lambda n=n, rest=rest: torch.rand(n, *rest), "input")
        for name, t, w, m, attrs in [("plain", target, None, None, {}), ("smoothed", target, None, None, {"label_smoothing": 0.1}),
                                     ("weighted", target, weights, None, {}), ("weighted, smoothed", target, weights, None, {"label_smoothing": 0.2}),
                                     ("ignoring", Given(holed, "input"), weights, None, {"label_smoothing": 0.1}), ("masked", target, None, mask, {}),
                                     ("masked by degrees", target, weights, degrees, {"label_smoothing": 0.1}), ("summed", target, weights, mask, {"reduction": "sum"}),
                                     ("of probabilities", soft, None, None, {}), ("of probabilities, weighted, smoothed", soft, weights, None, {"label_smoothing": 0.1})]:
            function = lambda scores, target, class_weights=None, mask=None, a=attrs: weighted_cross_entropy(
                scores, target, class_weights, mask, a.get("label_smoothing", 0.0), reduction=a.get("reduction", "mean"))
            case(f"cross_entropy {name} {(n, c, *rest)}", "cross_entropy",
                 {"scores": (n, c, *rest, 3.0), "target": t, "class_weights": w, "mask": m}, attrs, function)
    for shape in [(5, 7), (64, 1), (3, 80)]:
        binary = Given(lambda shape=shape: torch.rand(*shape), "input")
        real = Given(lambda shape=shape: torch.randn(*shape), "input")
        rows = Given(lambda shape=shape: torch.arange(shape[0]) % 3 != 1, "input")
        spread = lambda mask, x: mask.to(x.dtype).reshape(-1, 1).expand_as(x)

        def entropy(scores, target, weights=None, mask=None):
            each = F.binary_cross_entropy_with_logits(scores, target, weights, reduction="none")
            return each.mean() if mask is None else (each * spread(mask, each)).sum() / spread(mask, each).sum()

        def squares(scores, target, mask=None):
            each = (scores - target) ** 2
            return F.mse_loss(scores, target) if mask is None else (each * spread(mask, each)).sum() / spread(mask, each).sum()

        per_class = Given(lambda shape=shape: torch.rand(shape[1]) + 0.2, "input")
        for name, w, m in [("plain", None, None), ("weighted", per_class, None), ("masked", None, rows)]:
            case(f"binary_cross_entropy {name} {shape}", "binary_cross_entropy", {"scores": (*shape, 3.0), "target": binary, "weights": w, "mask": m}, {}, entropy)
        for name, m in [("plain", None), ("masked", rows)]:
            case(f"mean_squared_error {name} {shape}", "mean_squared_error", {"scores": shape, "target": real, "mask": m}, {}, squares)


for part in (convolutions, products, norms, activations, elementwise, pools, shapes, reductions, embeddings, losses):
    part()
np.concatenate(numbers).tofile(sys.argv[1])
json.dump(cases, sys.stdout)
