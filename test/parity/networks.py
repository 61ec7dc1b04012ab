"""A network of the zoo, as PyTorch has it."""

import torchvision

from cifar_resnet import CifarResNet


def make(name, **options):
    if name.startswith("cifar_resnet"):
        return CifarResNet(int(name[len("cifar_resnet"):]), **options)
    return getattr(torchvision.models, name)(**options)
