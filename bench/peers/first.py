"""PyTorch's side of P9: first.py THREADS WEIGHTS PIXELS, 256 x 256 RGB bytes"""
import json
import sys
import torch
from torchvision.models import resnet50

threads, weights, pixels = sys.argv[1:]
torch.set_num_threads(int(threads))
net = resnet50()
net.load_state_dict(torch.load(weights))
net.eval()
raw = torch.frombuffer(bytearray(open(pixels, "rb").read()), dtype=torch.uint8).view(256, 256, 3)
image = raw[16:240, 16:240].permute(2, 0, 1).float() / 255
mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
with torch.inference_mode():
    index = net(((image - mean[:, None, None]) / std[:, None, None])[None]).argmax().item()
print(json.dumps({"index": index}))
