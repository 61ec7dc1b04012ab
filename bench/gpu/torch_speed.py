"""PyTorch on a GPU for the stage `speed` of check.sh: torch_speed.py run|step BATCH NETWORK…

bf16 autocast, channels_last, eager and compiled; the batch is copied from the host in each repeat, as thaw does. Networks
come from torchvision with drawn weights. One line of JSON for each network and way.
"""

import json
import sys
import time

import torch
import torchvision

mode, batch, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
image = torch.rand(batch, 3, 224, 224)
target = (torch.arange(batch) * 37) % 1000


def forward(net):
    net.eval()

    def run():
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            return net(image.cuda().to(memory_format=torch.channels_last)).float().cpu()

    return run


def step(net):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    loss_of = torch.nn.CrossEntropyLoss()

    def run():
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = loss_of(net(image.cuda().to(memory_format=torch.channels_last)), target.cuda())
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


for name in names:
    for compiled in (False, True):
        net = getattr(torchvision.models, name)().cuda().to(memory_format=torch.channels_last)
        run = (step if mode == "step" else forward)(torch.compile(net) if compiled else net)
        times = []
        for i in range(40):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            run()
            torch.cuda.synchronize()
            if i >= 10:
                times.append((time.perf_counter() - begin) * 1000)
        times.sort()
        row = {"network": name, "peer": "torch.compile" if compiled else "torch", "peerVersion": torch.__version__}
        row |= {"mode": mode, "batch": batch, "ms": times[len(times) // 2], "fastestMs": times[0]}
        print(json.dumps(row), flush=True)
