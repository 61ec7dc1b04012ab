"""MobileNet v1 (Howard et al. 2017, table 1) as a PyTorch module, its layers named and padded as in Keras."""

import torch.nn as nn
import torch.nn.functional as F

BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


class MobileNetV1(nn.Module):
    def __init__(self, factor, num_classes=1000):
        super().__init__()
        self.order = []
        width = int(32 * factor)
        self.layer("conv1", nn.Conv2d(3, width, 3, 2, bias=False))
        for i, (planes, stride) in enumerate(BLOCKS, 1):
            out = int(planes * factor)
            padding = 1 if stride == 1 else 0
            self.layer(f"conv_dw_{i}", nn.Conv2d(width, width, 3, stride, padding, groups=width, bias=False))
            self.layer(f"conv_pw_{i}", nn.Conv2d(width, out, 1, bias=False))
            width = out
        self.relu = nn.ReLU6()
        self.conv_preds = nn.Conv2d(width, num_classes, 1)
        nn.init.zeros_(self.conv_preds.bias)

    def layer(self, name, conv):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        self.add_module(name, conv)
        self.add_module(name + "_bn", nn.BatchNorm2d(conv.out_channels, eps=1e-3, momentum=0.01))
        self.order.append(name)

    def forward(self, x):
        for name in self.order:
            conv, norm = getattr(self, name), getattr(self, name + "_bn")
            if conv.stride == (2, 2):
                x = F.pad(x, (0, 1, 0, 1))
            x = self.relu(norm(conv(x)))
        return self.conv_preds(x.mean((2, 3), keepdim=True)).flatten(1)
