"""Cases of activations, pools, and operators on shapes."""

import torch
import torch.nn.functional as F

from operator_case import Given, both, case


def activations():
    kinds = {
        "relu": F.relu,
        "relu6": F.relu6,
        "leaky_relu": F.leaky_relu,
        "hard_swish": F.hardswish,
        "hard_sigmoid": F.hardsigmoid,
        "silu": F.silu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu": F.gelu,
    }
    for op, kind in kinds.items():
        function = lambda x, kind=kind: kind(x)
        both(op, op, (2, 24, 7, 9, 4.0), {}, function)
        case(f"{op} near zero", op, {"x": (333, 0.05)}, {}, function)
        case(f"{op} far out", op, {"x": (333, 40.0)}, {}, function)
    both("leaky_relu 0.2", "leaky_relu", (2, 17, 5, 5, 4.0), {"alpha": 0.2}, lambda x: F.leaky_relu(x, 0.2))
    both("gelu tanh", "gelu", (2, 17, 5, 5, 4.0), {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh"))


def elementwise():
    for a, b in [
        ((2, 24, 5, 7), (2, 24, 5, 7)),
        ((2, 17, 5, 7), (1, 17, 1, 1)),
        ((3, 1, 5), (4, 1)),
        ((6,), ()),
        ((2, 58, 3, 3), (3,)),
    ]:
        case(
            f"add {a} {b}",
            "add",
            {"a": a, "b": b} if b else {"a": a, "b": Given(lambda: torch.randn(()))},
            {},
            lambda a, b: a + b,
        )
        case(
            f"multiply {a} {b}",
            "multiply",
            {"a": a, "b": b} if b else {"a": a, "b": Given(lambda: torch.randn(()))},
            {},
            lambda a, b: a * b,
        )
    both("scale by a number", "scale", (2, 17, 3, 5), {"factor": 0.3}, lambda x: x * 0.3)
    case(
        "scale by a value",
        "scale",
        {"x": (3, 33), "s": Given(lambda: torch.randn(()))},
        {"factor": 2.5},
        lambda x, s: x * 2.5 * s,
    )
    for shape, to in [((4, 17, 3), [17, 3]), ((4, 17, 3), [1, 17, 1]), ((2, 24, 5, 7), [1, 24, 1, 1]), ((9, 5), [])]:
        case(
            f"sum_to {shape} {to}",
            "sum_to",
            {"x": shape},
            {"shape": to},
            lambda x, to=to: x.sum_to_size(*to) if to else x.sum(),
        )


def pools():
    for channels, size, kernel, stride, padding, ceil in [
        (24, (9, 11), (3, 3), (2, 2), (0, 0), False),
        (64, (9, 11), (3, 3), (2, 2), (1, 1), False),
        (17, (8, 10), (3, 3), (2, 2), (0, 0), True),
        (3, (7, 5), (2, 2), (2, 2), (0, 0), True),
        (58, (6, 9), (3, 2), (1, 3), (1, 0), True),
        (16, (13, 13), (5, 5), (3, 3), (2, 2), True),
        (1, (4, 4), (2, 2), (2, 2), (0, 0), False),
        (24, (6, 6), (3, 3), (3, 3), (1, 1), True),
    ]:
        attrs = {"kernel": list(kernel), "stride": list(stride), "padding": [*padding, *padding], "ceil_mode": ceil}
        name = f"{channels} channels, {size}, {kernel} / {stride} + {padding}{' ceil' * ceil}"
        both(
            f"max_pool {name}",
            "max_pool",
            (2, channels, *size),
            attrs,
            lambda x, a=(kernel, stride, padding, 1, ceil): F.max_pool2d(x, *a),
        )
        for counted in (True, False):
            both(
                f"average_pool {name}{' counted' * counted}",
                "average_pool",
                (2, channels, *size),
                {**attrs, "count_include_pad": counted},
                lambda x, a=(kernel, stride, padding, ceil, counted): F.avg_pool2d(x, *a),
            )
    both(
        "max_pool dilated",
        "max_pool",
        (2, 17, 9, 9),
        {"kernel": [3, 3], "stride": [2, 2], "dilation": [2, 2], "padding": [1, 1, 1, 1]},
        lambda x: F.max_pool2d(x, 3, 2, 1, 2),
    )
    for size, to in [
        ((7, 7), (3, 5)),
        ((13, 9), (6, 6)),
        ((2, 3), (7, 7)),
        ((1, 1), (7, 7)),
        ((5, 6), (7, 1)),
        ((12, 8), (6, 4)),
        ((1, 2), (1, 1)),
    ]:
        both(
            f"adaptive_average_pool {size} to {to}",
            "adaptive_average_pool",
            (2, 24, *size),
            {"output_size": list(to)},
            lambda x, to=to: F.adaptive_avg_pool2d(x, to),
        )
    for channels in (3, 16, 58):
        both(
            f"global_average_pool {channels}",
            "global_average_pool",
            (3, channels, 7, 9),
            {},
            lambda x: x.mean((2, 3), keepdim=True),
        )
        both(
            f"global_max_pool {channels}",
            "global_max_pool",
            (3, channels, 7, 9),
            {},
            lambda x: x.amax((2, 3), keepdim=True),
        )


def shapes():
    for channels in ((3, 5, 16, 1), (24, 58), (16, 32), (17, 1, 30)):
        specs = {f"x{i}": (2, c, 5, 3) for i, c in enumerate(channels)}
        case(
            f"concat of {channels} channels", "concat", specs, {"axis": 1}, lambda **xs: torch.cat(list(xs.values()), 1)
        )
    case("concat of rows", "concat", {"a": (2, 3, 4), "b": (2, 5, 4)}, {"axis": -2}, lambda a, b: torch.cat((a, b), 1))
    case(
        "concat of pictures",
        "concat",
        {"a": (2, 17, 3, 3), "b": (1, 17, 3, 3)},
        {"axis": 0},
        lambda a, b: torch.cat((a, b), 0),
    )
    x = (2, 24, 7, 9)
    both("slice of channels", "slice", x, {"axis": 1, "start": 3, "end": 20}, lambda x: x[:, 3:20])
    both("slice of channels from 16", "slice", x, {"axis": 1, "start": 16}, lambda x: x[:, 16:])
    both(
        "slice of columns in steps", "slice", x, {"axis": 3, "start": 1, "end": -1, "step": 3}, lambda x: x[..., 1:-1:3]
    )
    both("slice from the end", "slice", x, {"axis": -2, "start": -3}, lambda x: x[:, :, -3:])
    both("pad", "pad", x, {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}, lambda x: F.pad(x, (2, 0, 1, 3)))
    both(
        "pad channels",
        "pad",
        x,
        {"pads": [0, 5, 0, 0, 0, 3, 0, 0], "value": 1.5},
        lambda x: F.pad(x, (0, 0, 0, 0, 5, 3), value=1.5),
    )
    both("flatten", "flatten", x, {}, lambda x: x.flatten(1))
    both("reshape", "reshape", x, {"shape": [0, -1, 3, 3]}, lambda x: x.reshape(2, -1, 3, 3))
    both("transpose", "transpose", x, {"perm": [0, 2, 3, 1]}, lambda x: x.permute(0, 2, 3, 1))
    both("transpose of all", "transpose", x, {"perm": [3, 1, 0, 2]}, lambda x: x.permute(3, 1, 0, 2))


def reductions():
    for axes, keep in [([1], False), ([2, 3], True), ([0, 1, 2, 3], False), ([0, 2], False), ([-1], True)]:
        for kind, function in [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)]:
            both(
                f"reduce {kind} {axes}{' kept' * keep}",
                "reduce",
                (3, 17, 5, 7),
                {"kind": kind, "axes": axes, "keepdims": keep},
                lambda x, f=function, a=axes, k=keep: f(x, a, keepdim=k),
            )
    for shape, axis in [((4, 10), -1), ((3, 1000), 1), ((2, 17, 5, 3), 1), ((2, 3, 33), 2), ((5, 4), 0)]:
        case(
            f"softmax {shape} along {axis}",
            "softmax",
            {"x": (*shape, 3.0)},
            {"axis": axis},
            lambda x, axis=axis: F.softmax(x, axis),
        )


def embeddings():
    for padding in (-1, 4):
        case(
            f"embedding, padding {padding}",
            "embedding",
            {"indices": Given(lambda: torch.randint(0, 11, (4, 7)), "input"), "weight": (11, 33)},
            {"padding_index": padding},
            lambda indices, weight, p=padding: F.embedding(indices, weight, None if p < 0 else p),
        )
