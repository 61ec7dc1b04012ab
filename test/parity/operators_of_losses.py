"""Cases of losses."""

import numpy as np
import torch
import torch.nn.functional as F

from operator_case import Given, case


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
        mask = Given(
            lambda n=n, rest=rest: torch.arange(n * max(1, int(np.prod(rest)))).reshape(n, *rest) % 3 != 1, "input"
        )
        degrees = Given(lambda n=n, rest=rest: torch.rand(n, *rest), "input")
        for name, t, w, m, attrs in [
            ("plain", target, None, None, {}),
            ("smoothed", target, None, None, {"label_smoothing": 0.1}),
            ("weighted", target, weights, None, {}),
            ("weighted, smoothed", target, weights, None, {"label_smoothing": 0.2}),
            ("ignoring", Given(holed, "input"), weights, None, {"label_smoothing": 0.1}),
            ("masked", target, None, mask, {}),
            ("masked by degrees", target, weights, degrees, {"label_smoothing": 0.1}),
            ("summed", target, weights, mask, {"reduction": "sum"}),
            ("of probabilities", soft, None, None, {}),
            ("of probabilities, weighted, smoothed", soft, weights, None, {"label_smoothing": 0.1}),
        ]:
            function = lambda scores, target, class_weights=None, mask=None, a=attrs: weighted_cross_entropy(
                scores, target, class_weights, mask, a.get("label_smoothing", 0.0), reduction=a.get("reduction", "mean")
            )
            case(
                f"cross_entropy {name} {(n, c, *rest)}",
                "cross_entropy",
                {"scores": (n, c, *rest, 3.0), "target": t, "class_weights": w, "mask": m},
                attrs,
                function,
            )
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
            return (
                F.mse_loss(scores, target)
                if mask is None
                else (each * spread(mask, each)).sum() / spread(mask, each).sum()
            )

        per_class = Given(lambda shape=shape: torch.rand(shape[1]) + 0.2, "input")
        for name, w, m in [("plain", None, None), ("weighted", per_class, None), ("masked", None, rows)]:
            case(
                f"binary_cross_entropy {name} {shape}",
                "binary_cross_entropy",
                {"scores": (*shape, 3.0), "target": binary, "weights": w, "mask": m},
                {},
                entropy,
            )
        for name, m in [("plain", None), ("masked", rows)]:
            case(
                f"mean_squared_error {name} {shape}",
                "mean_squared_error",
                {"scores": shape, "target": real, "mask": m},
                {},
                squares,
            )
