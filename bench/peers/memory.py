"""PyTorch's side of P10: memory.py THREADS LAYOUT WEIGHTS, a training step of ResNet-50 under bf16 autocast, batch 16, three
times"""
import json
import resource
import sys
import torch
from torchvision.models import resnet50

threads, layout, weights = sys.argv[1:]
torch.set_num_threads(int(threads))
form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
net = resnet50()
net.load_state_dict(torch.load(weights))
net.train().to(memory_format=form)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
image = torch.randn(16, 3, 224, 224).contiguous(memory_format=form)
target = torch.arange(16) * 37
for _ in range(3):
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(image)
    torch.nn.functional.cross_entropy(y.float(), target).backward()
    optimizer.step()
print(json.dumps({"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
