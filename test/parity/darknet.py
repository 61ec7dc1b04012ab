"""Darknet-19 and Darknet-53 (Redmon and Farhadi 2016 and 2018) as PyTorch modules, one module a section of the cfg."""

import torch.nn as nn


class Unit(nn.Conv2d):
    """Convolution, batch norm, leaky relu, under the names that thaw gives a section of a .cfg."""

    def __init__(self, before, after, kernel, stride=1):
        super().__init__(before, after, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.activation = nn.LeakyReLU(0.1)
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x):
        return self.activation(self.norm(super().forward(x)))


class Shortcut(nn.Module):
    """Adds what went into the section before the last."""


class Darknet(nn.Module):
    def __init__(self, sections, features, num_classes):
        super().__init__()
        self.layers = nn.ModuleList(sections)
        self.classifier = nn.Conv2d(features, num_classes, 1)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x):
        values = [x]
        for section in self.layers:
            values.append(values[-1] + values[-3] if isinstance(section, Shortcut) else section(values[-1]))
        # One number a class and pixel, then their mean; the mean of the pixels first comes to the same.
        return self.classifier(values[-1].mean((2, 3), keepdim=True)).flatten(1)


def darknet19(num_classes=1000):
    sections, before = [Unit(3, 32, 3)], 32
    for width, count in [(64, 1), (128, 3), (256, 3), (512, 5), (1024, 5)]:
        sections.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        for i in range(count):
            after = width // (1 + i % 2)
            sections.append(Unit(before, after, 3 - 2 * (i % 2)))
            before = after
    return Darknet(sections, before, num_classes)


def darknet53(num_classes=1000):
    sections, width = [Unit(3, 32, 3)], 32
    for blocks in [1, 2, 8, 8, 4]:
        sections.append(Unit(width, 2 * width, 3, 2))
        width *= 2
        for _ in range(blocks):
            sections += [Unit(width, width // 2, 1), Unit(width // 2, width, 3), Shortcut()]
    return Darknet(sections, width, num_classes)
