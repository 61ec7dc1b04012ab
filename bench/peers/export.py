"""Writes a torchvision network with random weights as .pth and as .onnx: export.py NAME PTH ONNX SIDE"""
import sys
import torch
import torchvision

name, pth, onnx, side = sys.argv[1:]
side = int(side)
torch.manual_seed(7)
net = getattr(torchvision.models, name)()
# Statistics of random pictures: with those of a new network, activations would grow through the residual sums.
for module in net.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.momentum = None
net.train()
with torch.no_grad():
    for _ in range(2):
        net(torch.randn(8, 3, side, side))
net.eval()
torch.save(net.state_dict(), pth)
torch.onnx.export(net, torch.randn(1, 3, side, side), onnx, opset_version=13, input_names=["image"],
                  output_names=["output"], dynamic_axes={"image": {0: "N"}, "output": {0: "N"}})
