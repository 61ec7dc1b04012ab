"""Writes PyTorch files of every kind that the reader must take or refuse into the folder argv[1], with expected.json."""

import argparse
import collections
import json
import os
import sys
import warnings
import zipfile

import numpy as np
import torch
import torch.nn as nn

warnings.filterwarnings("ignore")
folder = sys.argv[1]
expected = {}


def save(name, obj, **options):
    torch.save(obj, os.path.join(folder, name), **options)


def save_both(name, obj, tensors, aliases=None, **facts):
    """Writes both containers and notes what must be read: dense bytes in row-major order."""
    save(name + ".zip.pth", obj)
    save(name + ".legacy.pth", obj, _use_new_zipfile_serialization=False)
    for container in ("zip", "legacy"):
        expected[f"{name}.{container}.pth"] = {
            "format": "torch-" + container,
            "tensors": {k: describe(v) for k, v in tensors.items()},
            "aliases": aliases or {},
            **facts,
        }


def describe(tensor):
    dense = tensor.detach().contiguous()
    raw = dense.view(torch.int16) if dense.dtype == torch.bfloat16 else dense
    return {"dtype": str(dense.dtype), "shape": list(dense.shape), "bytes": raw.numpy().tobytes().hex()}


generator = torch.Generator().manual_seed(1)
net = nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), fc=nn.Linear(4, 2)))
state = net.state_dict()
save_both("plain", state, state)
save_both("prefixed", {"module." + k: v for k, v in state.items()}, state, prefix="module.")
save_both("partly_prefixed", {"module.a": torch.ones(2), "b": torch.zeros(1)},
          {"module.a": torch.ones(2), "b": torch.zeros(1)})

base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
views = {"transposed": base.t(), "strided": base[::2, 1::2], "offset": base[1], "expanded": torch.ones(1, 3).expand(4, 3),
         "channels_last": torch.randn(1, 3, 2, 2, generator=generator).to(memory_format=torch.channels_last),
         "scalar": torch.tensor(7), "empty": torch.zeros(0, 3)}
save_both("views", views, views)

kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
         torch.uint8, torch.bool]
dtypes = {str(d): torch.tensor([0, 1, 2, 3, 100]).to(d) for d in kinds}
save_both("dtypes", dtypes, dtypes)

tied = nn.Parameter(torch.randn(5, 3, generator=generator))
save_both("tied", {"embedding.weight": tied, "decoder.weight": tied, "row": tied.detach()[2]},
          {"embedding.weight": tied, "decoder.weight": tied, "row": tied.detach()[2]},
          aliases={"decoder.weight": "embedding.weight"})

optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
optimizer.zero_grad()
sum(p.sum() for p in net.parameters()).backward()
optimizer.step()
nested = {"epoch": 3, "best": torch.tensor(0.5), "state_dict": {"module." + k: v for k, v in net.state_dict().items()},
          "optimizer": optimizer.state_dict(), "lr": 1e-3, "big": 2**70, "negative": -5, "flags": (True, None, [1, 2]),
          "metric": np.float64(0.25), "stats": collections.defaultdict(list), "size": torch.Size([1, 2]),
          "dtype": torch.float16, "text": "ä" * 300}
save_both("nested", nested, net.state_dict(), prefix="module.", nested="state_dict")
save_both("deep", {"checkpoint": {"model": {"a": torch.ones(2)}}, "optimizer": {"x": torch.ones(1)}}, {"a": torch.ones(2)},
          nested="checkpoint.model")

for protocol in (3, 4):
    save(f"protocol{protocol}.pth", state, pickle_protocol=protocol)
    save(f"protocol{protocol}.legacy.pth", state, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    for suffix, container in ((".pth", "zip"), (".legacy.pth", "legacy")):
        expected[f"protocol{protocol}{suffix}"] = {
            "format": "torch-" + container, "tensors": {k: describe(v) for k, v in state.items()}, "aliases": {}}

# Many tensors: the legacy pickle is longer than the reader's first read.
many = {f"layer{i:05d}.a_rather_long_name_to_fill_the_pickle.weight": torch.full((1,), float(i)) for i in range(9000)}
save("many.legacy.pth", many, _use_new_zipfile_serialization=False)

save("module.pth", net)
save("namespace.pth", {"state_dict": state, "args": argparse.Namespace(lr=1)})
save("no_tensors.pth", {"epoch": 3})
save("list.pth", [torch.ones(1)])
save("complex.pth", {"a": torch.ones(2, dtype=torch.complex64)})
save("quantised.pth", {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)})
save("sparse.pth", {"a": torch.eye(2).to_sparse()})


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {folder}/executed",)


save("evil.pth", {"a": Evil()})
save("evil.legacy.pth", {"a": Evil()}, _use_new_zipfile_serialization=False)
torch.jit.script(nn.Linear(2, 2)).save(os.path.join(folder, "script.pt"))

save("expanded.pth", {"a": torch.ones(1).expand(2**20, 2**20)})


def rezip(name, compression=zipfile.ZIP_STORED, change=lambda member, data: data):
    """plain.zip.pth packed anew by another program."""
    with zipfile.ZipFile(os.path.join(folder, "plain.zip.pth")) as old:
        with zipfile.ZipFile(os.path.join(folder, name), "w", compression) as new:
            for member in old.namelist():
                new.writestr(member, change(member, old.read(member)))


rezip("compressed.pth", zipfile.ZIP_DEFLATED)
rezip("short_storage.pth", change=lambda member, data: data[:-1] if "/data/" in member else data)
with zipfile.ZipFile(os.path.join(folder, "big_endian.pth"), "w") as archive:
    with zipfile.ZipFile(os.path.join(folder, "plain.zip.pth")) as old:
        for member in old.namelist():
            archive.writestr(member, old.read(member))
        # PyTorch 1.13 writes no such member, later ones do.
        archive.writestr(os.path.dirname(old.namelist()[0]) + "/byteorder", b"big")
zipfile.ZIP64_LIMIT = 10
zipfile.ZIP_FILECOUNT_LIMIT = 1
rezip("zip64.pth")
expected["zip64.pth"] = expected["plain.zip.pth"]
np.savez(os.path.join(folder, "arrays.npz"), a=np.ones(2))

with open(os.path.join(folder, "expected.json"), "w") as file:
    json.dump(expected, file)
