"""Tables in Markdown of what check.sh found: tables.py FOLDER"""

import json
import sys
from collections import defaultdict
from pathlib import Path

folder = Path(sys.argv[1])


def rows(stage):
    path = folder / f"{stage}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def table(title, heads, lines):
    if not lines:
        return
    print(f"\n### {title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for line in lines:
        print(f"| {' | '.join(str(cell) for cell in line)} |")


def number(value, form="{:.3g}"):
    return "" if value is None else form.format(value)


def checks():
    lines = [
        (r["network"], r["mode"], r.get("precision", ""), number(r.get("output")), number(r.get("worstGradient")))
        + (r.get("of", ""), r.get("error") or ("yes" if r.get("agrees") else "NO"))
        for r in rows("networks")
    ]
    heads = ["network", "mode", "precision", "output apart", "worst gradient apart", "which", "agrees"]
    table("Networks on the GPU beside the processor", heads, lines)
    lines = [
        (r["network"], r["mode"], r["precision"], number(r["output"]), number(r["outputTorch"]))
        + (number(r.get("gradient")), number(r.get("gradientTorch")), "yes" if r["agrees"] else "NO")
        for r in rows("parity")
        if "output" in r
    ]
    heads = ["network", "mode", "precision", "output", "PyTorch's", "worst gradient", "PyTorch's", "agrees"]
    table("Errors against PyTorch's float64", heads, lines)


def speed():
    found = defaultdict(dict)
    for r in rows("speed"):
        found[r["network"], r["mode"], r["batch"]][r.get("peer", "thaw")] = r
    lines = []
    for (name, mode, batch), peers in sorted(found.items()):
        thaw = peers.get("thaw", {})
        line = [name, mode, batch, number(thaw.get("ms")), number(thaw.get("aloneMs"))]
        for peer in ("torch", "torch.compile"):
            row = peers.get(peer, {})
            line.append(number(row.get("ms")) or row.get("error", "")[:40])
            both = "ms" in row and "ms" in thaw
            line.append(number(row["ms"] / thaw["ms"], "{:.2f}x") if both else "")
        line.append(number(peers.get("torch", {}).get("residentMs")))
        lines.append(line)
    heads = ["network", "mode", "batch", "thaw ms", "each copies its own", "eager ms", "ratio", "compiled ms", "ratio"]
    table("bf16, a step's milliseconds (medians); above 1x thaw is faster", heads + ["eager, batch resident"], lines)


def layers():
    peaks = {r["peer"]: r["tflops"] for r in rows("layers") if r.get("case") == "peak"}
    for r in rows("layers"):
        if r["network"].startswith("product@") if "network" in r else False:
            if r.get("launchMs") and r.get("op") == "linear":
                peaks["thaw's product"] = r["gflop"] / r["launchMs"]
    for r in rows("layers"):
        if r.get("case") == "copy":
            print(f"\nA copy on the device: {r['GBps']:.0f} GB/s, read and written counted once each.")
    if not peaks:
        return
    for peer, rate in peaks.items():
        print(f"\nPeak by {peer}, 8192 x 8192 x 8192 in bf16: {rate:.0f} TFLOP/s.")
    top = max(peaks.values())
    groups = defaultdict(list)
    for r in rows("layers"):
        if "launchMs" in r and not r["network"].startswith("product@"):
            groups[r["network"], r["mode"], r["batch"]].append(r)
    for (name, mode, batch), all_rows in groups.items():
        whole = sum(r["launchMs"] for r in all_rows)
        lines = []
        for r in all_rows:
            if "gflop" not in r:
                continue
            rate = r["gflop"] / r["launchMs"] if r["launchMs"] else None
            shape = "x".join(map(str, r["weight"])) + " @" + "x".join(map(str, r["out"][2:]))
            share = number(r["launchMs"] / whole if whole else None, "{:.1%}")
            line = [r["node"], r["op"], r["kernel"], shape, number(r["launchMs"] * 1000, "{:.0f}"), share]
            lines.append(line + [number(rate, "{:.0f}"), number(rate and rate / top, "{:.0%}")])
        rest = whole - sum(r["launchMs"] for r in all_rows if "gflop" in r)
        title = f"{name}, {mode}, batch {batch}: {whole:.2f} ms in all launches, {rest:.2f} of them in other operators"
        heads = ["node", "operator", "kernel", "weight @ output", "us", "share", "TFLOP/s", "of peak"]
        table(title, heads, lines)


def node():
    lines = [(r["case"], r["network"], "yes" if r["good"] else "NO", number(r.get("apart"))) for r in rows("node")]
    table("Through Node", ["check", "network", "good", "apart"], lines)


checks()
node()
speed()
layers()
