"""Cases of convolutions, products and normalisations."""

import torch
import torch.nn.functional as F

from operator_case import Given, both, case


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
    conv2d(
        "5 x 3, stride 2 x 1, asymmetric padding", (2, 16, 9, 11), (24, 16, 5, 3), stride=(2, 1), padding=(2, 0, 1, 2)
    )
    conv2d("asymmetric padding, stride 2", (2, 24, 8, 8), (16, 24, 3, 3), stride=(2, 2), padding=(0, 0, 1, 1))
    conv2d("dilation 2", (2, 24, 11, 9), (16, 24, 3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
    conv2d(
        "dilation 3 x 2, stride 2", (2, 3, 13, 12), (58, 3, 3, 3), stride=(2, 2), padding=(3, 1, 3, 1), dilation=(3, 2)
    )
    conv2d("1 x 1, stride 2", (2, 58, 9, 7), (116, 58, 1, 1), stride=(2, 2), bias=False)
    for groups, inner, outer in [(2, 58, 116), (2, 16, 24), (3, 24, 3), (32, 128, 128), (4, 64, 32)]:
        conv2d(
            f"{groups} groups, {inner} to {outer}",
            (2, inner, 7, 5),
            (outer, inner // groups, 3, 3),
            padding=ones,
            groups=groups,
        )
    for channels in (1, 3, 16, 24, 58, 116):
        conv2d(f"depthwise {channels}", (2, channels, 9, 7), (channels, 1, 3, 3), padding=ones, groups=channels)
    conv2d(
        "depthwise 24, stride 2, 5 x 5", (2, 24, 9, 11), (24, 1, 5, 5), stride=(2, 2), padding=(2, 2, 2, 2), groups=24
    )
    conv2d("depthwise 58, twice the channels", (2, 58, 7, 7), (116, 1, 3, 3), padding=ones, groups=58)
    conv2d("one output pixel", (3, 24, 3, 3), (58, 24, 3, 3))


def products():
    linear = lambda x, weight, bias=None: F.linear(x, weight, bias)
    for shape, outer, bias in [
        ((3, 17), 10, True),
        ((2, 3, 58), 116, False),
        ((1, 300), 1, True),
        ((33, 16), 24, True),
        ((5, 1), 3, True),
    ]:
        specs = {"x": shape, "weight": (outer, shape[-1], 0.3), "bias": (outer,) if bias else None}
        case(f"linear {shape} to {outer}", "linear", specs, {}, linear)
    for a, b, left, right in [
        ((5, 7), (7, 9), False, False),
        ((2, 3, 7, 5), (2, 3, 7, 18), True, False),
        ((4, 33, 20), (17, 20), False, True),
        ((3, 1, 6, 5), (2, 4, 6), True, True),
        ((1, 257), (257, 1), False, False),
    ]:
        turn = lambda t, yes: t.transpose(-1, -2) if yes else t
        function = lambda a, b, left=left, right=right: turn(a, left) @ turn(b, right)
        case(
            f"matmul {a}{' turned' * left} {b}{' turned' * right}",
            "matmul",
            {"a": a, "b": b},
            {"transpose_a": left, "transpose_b": right},
            function,
        )


def norms():
    positive = lambda *shape: Given(lambda: torch.rand(*shape) + 0.5, "state")
    for shape in [(2, 3, 5, 7), (4, 16, 3, 3), (2, 58, 9, 7), (3, 24), (2, 116, 1, 1), (2, 24, 15, 13)]:
        c = shape[1]
        for affine in (True, False):
            specs = {
                "x": shape,
                "weight": (c,) if affine else None,
                "bias": (c,) if affine else None,
                "running_mean": Given(lambda c=c: torch.randn(c), "state"),
                "running_var": positive(c),
                "num_batches_tracked": Given(lambda: torch.tensor(3), "state"),
            }
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
                case(
                    f"batch_norm {mode} {shape}{' affine' * affine}",
                    "batch_norm",
                    specs,
                    {"mode": mode, "momentum": 0.2, "eps": 1e-4},
                    function,
                    extra,
                )
    for shape, normalized in [((3, 5, 17), [17]), ((2, 4, 5, 6), [5, 6]), ((7, 300), [300])]:
        for affine in (True, False):
            layer = lambda x, weight=None, bias=None, n=normalized: F.layer_norm(x, n, weight, bias, 1e-5)
            specs = {
                "x": shape,
                "weight": tuple(normalized) if affine else None,
                "bias": tuple(normalized) if affine else None,
            }
            case(
                f"layer_norm {shape} over {normalized}{' affine' * affine}",
                "layer_norm",
                specs,
                {"normalized_shape": normalized, "eps": 1e-5},
                layer,
            )
    for channels, size, alpha, beta, k in [
        (24, 5, 1e-4, 0.75, 1.0),
        (58, 5, 0.5, 0.75, 2.0),
        (16, 3, 1.0, 0.5, 1.0),
        (3, 5, 0.3, 0.75, 1.0),
        (17, 4, 0.2, 1.0, 1.5),
    ]:
        both(
            f"local_response_norm {channels} channels, {size}, {alpha}, {beta}, {k}",
            "local_response_norm",
            (2, channels, 5, 7, 3.0),
            {"size": size, "alpha": alpha, "beta": beta, "k": k},
            lambda x, a=(size, alpha, beta, k): F.local_response_norm(x, *a),
        )
