"""MobileNet v1 (Howard et al. 2017, table 1) as a PyTorch module, under timm's names."""

import torch.nn as nn

STAGES = [(64, 1), (128, 2), (256, 2), (512, 6), (1024, 2)]


def conv(before, after, kernel, stride=1, groups=1):
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return layer


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv_dw = conv(before, before, 3, stride, before)
        self.bn1 = nn.BatchNorm2d(before)
        self.conv_pw = conv(before, after, 1)
        self.bn2 = nn.BatchNorm2d(after)
        self.act = nn.ReLU6()

    def forward(self, x):
        x = self.act(self.bn1(self.conv_dw(x)))
        return self.act(self.bn2(self.conv_pw(x)))


class MobileNetV1(nn.Module):
    def __init__(self, factor, num_classes=1000):
        super().__init__()
        width = int(32 * factor)
        self.conv_stem = conv(3, width, 3, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.act = nn.ReLU6()
        stages = []
        for index, (planes, count) in enumerate(STAGES):
            blocks = []
            for i in range(count):
                after = int(planes * factor)
                blocks.append(Block(width, after, 2 if index and not i else 1))
                width = after
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.classifier(x.mean((2, 3)))
