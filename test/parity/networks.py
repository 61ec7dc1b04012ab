"""A network of the zoo, as PyTorch has it."""

import torchvision

import darknet
from cifar_resnet import CifarResNet
from mobilenet_v1 import MobileNetV1

WIDTHS = {"mobilenet_v1": 1, "mobilenet_v1_0_75": 0.75, "mobilenet_v1_0_5": 0.5, "mobilenet_v1_0_25": 0.25}


def make(name, **options):
    if name.startswith("cifar_resnet"):
        return CifarResNet(int(name[len("cifar_resnet"):]), **options)
    if name in WIDTHS:
        return MobileNetV1(WIDTHS[name], **options)
    return getattr(darknet if name.startswith("darknet") else torchvision.models, name)(**options)
