"""PyTorch on the same machine: torch_speed.py run|step|head BATCH NETWORK… [--device cpu] [--repeats 30], or torch_speed.py peak

run, step: torchvision's networks with drawn weights in bf16 autocast, channels_last, eager and compiled. `ms`: the next batch comes
by a second stream out of pinned memory while one is computed, as with thaw; `residentMs`: one batch lies on the device
throughout. The result (scores or loss) is read each time. head: a classifier on features that lie on the device.
peak: a product of 8192 x 8192 matrices in bf16, and a copy on the device. One line of JSON each.
"""

import argparse
import json
import time

import torch
import torchvision

words = argparse.ArgumentParser()
words.add_argument("mode", choices=["run", "step", "head", "peak"])
words.add_argument("rest", nargs="*")
words.add_argument("--device", default="cuda")
words.add_argument("--repeats", type=int, default=30)
words.add_argument("--side", type=int, default=224)
words = words.parse_args()
mode, device, repeats = words.mode, words.device, words.repeats
on_gpu = device != "cpu"


def wait():
    if on_gpu:
        torch.cuda.synchronize()


def measure(run, count=repeats):
    times = []
    for i in range(count + 10):
        wait()
        begin = time.perf_counter()
        run()
        wait()
        if i >= 10:
            times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    return times[len(times) // 2], times[0]


def peak():
    size = 8192 if on_gpu else 256
    a = torch.randn(size, size, device=device).bfloat16()
    b = torch.randn(size, size, device=device).bfloat16()
    ms, fastest = measure(lambda: a @ b)
    row = {"case": "peak", "peer": "torch.matmul", "size": size, "ms": ms, "tflops": 2e-9 * size**3 / ms}
    print(json.dumps(row | {"fastestMs": fastest, "peerVersion": torch.__version__}))
    source = torch.randn(size * size * 8, device=device)
    target = torch.empty_like(source)
    ms, _ = measure(lambda: target.copy_(source))
    print(json.dumps({"case": "copy", "peer": "torch", "ms": ms, "GBps": 2e-6 * source.numel() * 4 / ms}))


class Feed:
    """The next batch on its way while one is computed."""

    def __init__(self, image, target):
        self.host = [(image.pin_memory(), target.pin_memory()) if on_gpu else (image, target)]
        self.stream = torch.cuda.Stream() if on_gpu else None
        self.bring()

    def bring(self):
        image, target = self.host[0]
        if not on_gpu:
            self.coming = (image, target)
            return
        with torch.cuda.stream(self.stream):
            self.coming = (image.to(device, non_blocking=True), target.to(device, non_blocking=True))

    def next(self):
        if on_gpu:
            torch.cuda.current_stream().wait_stream(self.stream)
            for tensor in self.coming:
                tensor.record_stream(torch.cuda.current_stream())
        image, target = self.coming
        self.bring()
        return image.to(memory_format=torch.channels_last), target


def resident(image, target):
    image = image.to(device).to(memory_format=torch.channels_last)
    target = target.to(device)
    return lambda: (image, target)


def forward(net, batches):
    net.eval()

    def run():
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            return net(batches()[0]).float().cpu()

    return run


def step(net, batches):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    loss_of = torch.nn.CrossEntropyLoss()

    def run():
        image, target = batches()
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = loss_of(net(image), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def networks(batch, names):
    image = torch.rand(batch, 3, words.side, words.side)
    target = (torch.arange(batch) * 37) % 1000
    make = step if mode == "step" else forward
    for name in names:
        for compiled in (False, True) if on_gpu else (False,):
            net = getattr(torchvision.models, name)().to(device).to(memory_format=torch.channels_last)
            begin = time.perf_counter()
            run_net = torch.compile(net) if compiled else net
            row = {"network": name, "peer": "torch.compile" if compiled else "torch", "mode": mode, "batch": batch}
            row["peerVersion"] = torch.__version__
            try:
                row["residentMs"], _ = measure(make(run_net, resident(image, target)))
                row["warmUpSeconds"] = time.perf_counter() - begin
                row["ms"], row["fastestMs"] = measure(make(run_net, Feed(image, target).next))
                row["picturesPerSecond"] = 1000 * batch / row["ms"]
            except Exception as error:  # a compiler that fails on one network leaves the others
                row["error"] = str(error)[:300]
            print(json.dumps(row), flush=True)


def heads(batch, names):
    for name in names:
        net = getattr(torchvision.models, name)()
        last = [part for part in net.modules() if isinstance(part, torch.nn.Linear)][-1].to(device)
        features = torch.rand(batch, last.in_features, device=device)
        target = (torch.arange(batch) * 37).to(device) % 1000
        run = step(last, lambda: (features, target))
        ms, fastest = measure(run)
        row = {"network": name, "peer": "torch", "mode": "head", "batch": batch, "ms": ms, "fastestMs": fastest}
        print(json.dumps(row | {"peerVersion": torch.__version__}), flush=True)


if mode == "peak":
    peak()
else:
    (heads if mode == "head" else networks)(int(words.rest[0]), words.rest[1:])
