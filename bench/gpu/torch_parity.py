"""Networks against PyTorch: torch_parity.py fp32|bf16 FILE… with files of `network_bench --dump` (weights, batch, outputs, gradients).

torchvision's network of that name gets the same weights and the same batch, in float64 and in float32 (true float32: no TF32), on
the GPU where there is one. An error is ||found - float64|| / ||float64||; that of PyTorch's own float32, for bf16 that of its autocast,
stands beside it. Gradients
below a thousandth of the network's largest (biases before a norm have none) are compared beside that thousandth. One line of
JSON a file; status 1 where thaw's error is more than its bar.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
TYPES = {"F32": np.float32, "I32": np.int32}
NOISE = 1e-3
# So many times PyTorch's own error, and at least what rounding in another order may cost: in gradients a value beside
# the kink of a ReLU that comes to lie on its other side, which shows in all layers before it (MobileNetV2 at 96 pixels:
# PyTorch's own error is 5e-5 with two threads and 3e-3 with one).
FACTOR = 3
FLOORS = {"fp32": {"output": 1e-5, "gradient": 0.03}, "bf16": {"output": 0.02, "gradient": 0.3}}


def read(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, row in json.loads(data[8 : 8 + length]).items():
        begin, end = (8 + length + at for at in row["data_offsets"])
        array = np.frombuffer(data[begin:end], TYPES[row["dtype"]]).reshape(row["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


def build(name):
    make = getattr(torchvision.models, name)
    if name in ("googlenet", "inception_v3"):
        return make(aux_logits=False, init_weights=False, transform_input=False)
    return make()


def answers(name, mode, tensors, dtype, bf16=False):
    """Output and gradients by name, of PyTorch in that type, or by its autocast."""
    net = build(name)
    own = net.state_dict()
    net.load_state_dict({key: tensors[key].reshape(own[key].shape).to(own[key].dtype) for key in own})
    net = net.to(device, dtype)
    net.train(mode == "step")
    for part in net.modules():
        # Draws differ from library to library.
        if isinstance(part, torch.nn.Dropout) or type(part).__name__ == "StochasticDepth":
            part.eval()
    image = tensors["io/image"].to(device, dtype)
    with torch.set_grad_enabled(mode == "step"), torch.autocast(device, torch.bfloat16, enabled=bf16):
        output = net(image).to(dtype)
    if mode == "run":
        return {"output": output}
    torch.nn.functional.cross_entropy(output, tensors["io/target"].long().to(device)).backward()
    found = {"output": output.detach()}
    found.update({"gradient/" + key: p.grad for key, p in net.named_parameters()})
    return found


def errors(found, wanted):
    norms = {key: float(w.norm()) for key, w in wanted.items()}
    largest = max([norms[key] for key in norms if key != "output"], default=0.0)
    result = {}
    for key, w in wanted.items():
        f = found[key].to(w.device, torch.float64).reshape(w.shape)
        floor = 1e-30 if key == "output" else NOISE * largest
        result[key] = float((f - w).norm()) / max(norms[key], floor)
    return result


def judge(path, precision):
    name, mode, _ = path.name.split(".")
    row = {"network": name, "mode": mode, "precision": precision, "peerVersion": torch.__version__, "on": device}
    architecture = name.split("@")[0]
    if not hasattr(torchvision.models, architecture):
        return row | {"absent": f"torchvision {torchvision.__version__} has no {architecture}"}
    tensors = read(path)
    wanted = answers(architecture, mode, tensors, torch.float64)
    plain = errors(answers(architecture, mode, tensors, torch.float32, precision == "bf16"), wanted)
    found = {key: tensors["io/" + key if key == "output" else key] for key in wanted}
    ours = errors(found, wanted)
    agrees = True
    for kind in ("output", "gradient"):
        keys = [key for key in wanted if key.startswith(kind)]
        if not keys:
            continue
        worst = max(keys, key=lambda key: ours[key])
        floor = max(plain[key] for key in keys)
        bar = max(FACTOR * floor, FLOORS[precision][kind])
        row |= {kind: ours[worst], kind + "Torch": floor, kind + "Bar": bar}
        agrees = agrees and ours[worst] <= bar
        if kind == "gradient":
            row |= {"of": worst, "gradients": len(keys)}
    return row | {"agrees": agrees}


good = True
for file in sys.argv[2:]:
    line = judge(Path(file), sys.argv[1])
    good = good and line.get("agrees", True)
    print(json.dumps(line), flush=True)
sys.exit(0 if good else 1)
