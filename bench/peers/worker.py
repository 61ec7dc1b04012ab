"""Obeys one JSON command a line and answers each with one JSON line: worker.py THREADS

load    {name, pth, layout, train, precision}  a network under the key "name/layout"; `train`: prefixes of the modules
                                       that train ("." all), none for inference. In bf16 inference has its weights
                                       cast, training runs under autocast
forward {name, layout, batch, input, output?}   one forward pass of raw float32 pictures; writes its output
step    {name, layout, batch, input}   one full training step (SGD with momentum) → loss
linear  {features, rows, width, classes}        a linear head on features in memory
epoch   {batch}                        one epoch of it, shuffled → loss
"""
import json
import sys
import time
import torch
import torchvision

torch.set_num_threads(int(sys.argv[1]))
networks = {}
pictures = {}
head = {}


def key_of(request):
    return f"{request['name']}/{request['layout']}"


def in_layout(tensor, layout):
    return tensor.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else tensor


def read(request):
    key = (request["input"], request["batch"], request["layout"])
    if key not in pictures:
        data = torch.frombuffer(bytearray(open(request["input"], "rb").read()), dtype=torch.float32)
        pictures[key] = in_layout(data.view(-1, 3, 224, 224)[: request["batch"]], request["layout"])
    return pictures[key]


def load(request):
    net = getattr(torchvision.models, request["name"])()
    net.load_state_dict(torch.load(request["pth"]))
    bf16 = request["precision"] == "bf16"
    mark(net, request["train"])
    if bf16 and not request["train"]:
        net = net.bfloat16()
    if request["layout"] == "channels_last":
        net = net.to(memory_format=torch.channels_last)
    trained = [p for p in net.parameters() if p.requires_grad]
    networks[key_of(request)] = (net, torch.optim.SGD(trained, lr=1e-3, momentum=0.9) if trained else None, bf16)
    return {}


def mark(net, prefixes):
    """What does not train is in evaluation mode and wants no gradient."""
    net.eval()
    for parameter in net.parameters():
        parameter.requires_grad = False
    for name, module in net.named_modules():
        for prefix in prefixes:
            if prefix == "." or name == prefix or name.startswith(prefix + "."):
                module.train()
                for parameter in module.parameters(recurse=prefix == "."):
                    parameter.requires_grad = True


def forward(request):
    net, _, bf16 = networks[key_of(request)]
    x = read(request)
    begin = time.perf_counter()
    with torch.inference_mode():
        y = net(x.bfloat16() if bf16 else x).float()
    ms = (time.perf_counter() - begin) * 1e3
    if "output" in request:
        open(request["output"], "wb").write(y.contiguous().numpy().tobytes())
    return {"ms": ms}


def step(request):
    net, optimizer, bf16 = networks[key_of(request)]
    x = read(request)
    target = (torch.arange(request["batch"]) * 37) % 1000
    begin = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        y = net(x)
    loss = torch.nn.functional.cross_entropy(y.float(), target)
    loss.backward()
    optimizer.step()
    loss = loss.item()
    return {"ms": (time.perf_counter() - begin) * 1e3, "loss": loss}


def linear(request):
    rows, width = request["rows"], request["width"]
    data = torch.frombuffer(bytearray(open(request["features"], "rb").read()), dtype=torch.float32)
    layer = torch.nn.Linear(width, request["classes"])
    head.update(x=data.view(rows, width), y=torch.arange(rows) % request["classes"], layer=layer,
                optimizer=torch.optim.SGD(layer.parameters(), lr=1e-3, momentum=0.9))
    return {}


def epoch(request):
    begin = time.perf_counter()
    total = 0.0
    for rows in torch.randperm(len(head["x"])).split(request["batch"]):
        head["optimizer"].zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(head["layer"](head["x"][rows]), head["y"][rows])
        loss.backward()
        head["optimizer"].step()
        total += loss.item() * len(rows)
    return {"ms": (time.perf_counter() - begin) * 1e3, "loss": total / len(head["x"])}


commands = {f.__name__: f for f in (load, forward, step, linear, epoch)}
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = commands[request["command"]](request)
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
