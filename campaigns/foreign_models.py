"""Networks made elsewhere, imported: PyTorch's and torchvision's zoos, scikit-learn's and Keras'.

    python campaigns/foreign_models.py                  # all
    python campaigns/foreign_models.py resnet18 swin_t  # some
    python campaigns/foreign_models.py modules exports  # kinds: modules, zoo, refused, files, exports
    python campaigns/foreign_models.py --write docs/interchange-models.md

Each has random weights, also in its running statistics and where its own start at 0. Its predictions
on two samples are compared with those of the module, and its parameters and statistics, bit for bit,
with the module's. What no layers here express must be refused, and the refusal says why. Networks of
chainrule's own, and the modules, are written as code for PyTorch, run there, and compared.
`--write` renews the rows of what was run in the tables of a file, and keeps the others. It needs the
extra "peers" and torchvision (pip install --no-deps torchvision==0.28.0); scikit-learn's and Keras'
also skl2onnx, keras and onnxruntime.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import re
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
os.environ.setdefault("KERAS_BACKEND", "torch")

from foreign_zoo import REFUSED, ZOO, keras_models, modules, refused_modules, sklearn_models, untried, zoo  # noqa: E402

LIMIT = 1e-5
"""How far predictions may differ, as a share of the largest, or of 1."""
KINDS = ("modules", "zoo", "refused", "files", "exports")
HEADS = {
    "imported": ("network", "weights", "largest difference", ""),
    "refused": ("network", "what is missing"),
    "exported": ("network", "weights", "largest difference"),
}
OWN = {
    "simple_rnn 6 all=true, simple_rnn 4 activation=relu, 3": (9, 5),
    "lstm 6 all=true, lstm 4 reversed=true, 3": (9, 5),
    "gru 6 all=true, gru 4 reversed=true, 3": (9, 5),
    "embedding 9 4, gru 5, 3": (7,),
    "transformer 1 8 heads=2 causal=true, global_max_pool, 3": (6, 4),
    "32 relu, dropout 0.2, 8 gelu, layer_norm, 3": (5,),
    "conv 6 3 padding=same, batch_norm, relu, max_pool 2, flatten, 3": (12, 10, 2),
    "conv 6 3 stride=2 padding=same, group_norm 2, silu, depthwise_conv 3, average_pool 2, global_average_pool, 3":
        (16, 16, 3),
    "conv1d 4 3, rms_norm, relu, global_max_pool, 3": (8, 2),
}  # fmt: skip
"""Networks of chainrule's own that are exported, with the shapes of their samples."""


class Tables:
    """The rows of the tables, printed as they come."""

    def __init__(self):
        self.rows, self.failed = {kind: {} for kind in HEADS}, 0

    def add(self, kind, name, *cells, good=True):
        """Add a row."""
        self.failed += not good
        self.rows[kind][name] = cells
        print("" if good else "FAILED ", kind, " | ".join(map(str, (name, *cells))), sep=" ", flush=True)

    def write(self, path):
        """Renew the rows in a file of Markdown, whose tables each follow a line <!-- table: kind -->."""
        parts = re.split(r"(<!-- table: (\w+) -->\n)", path.read_text())
        for k in range(2, len(parts), 3):
            kind, (body, after) = parts[k], _table_of(parts[k + 1])
            rows = body | self.rows[kind]
            lines = [HEADS[kind], ["---"] * len(HEADS[kind]), *((name, *cells) for name, cells in rows.items())]
            parts[k + 1] = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n" + after
        path.write_text("".join(part for k, part in enumerate(parts) if k % 3 != 2))


def _table_of(text):
    """The rows of a table at the start of a text, and what follows it."""
    lines = text.split("\n")
    count = next((k for k, line in enumerate(lines) if not line.startswith("|")), len(lines))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:count]]
    return {name: rest for name, *rest in cells}, "\n".join(lines[count:])


def randomized(module, shape):
    """The module with numbers everywhere: also where its weights and statistics start at 0 or 1."""
    import torch

    torch.manual_seed(0)
    module.eval()
    with torch.no_grad():
        if any(isinstance(p, torch.nn.UninitializedParameter) for p in module.parameters()):
            module(torch.zeros(1, *shape))
        for p in module.parameters():
            if p.numel() < 10**6 and (p.numel() == 1 or p.std() == 0):  # larger ones are drawn by themselves
                torch.nn.init.normal_(p, p.flatten()[0].item(), 0.02)
        for b in module.modules():
            if getattr(b, "running_mean", None) is not None:
                b.running_mean.normal_(0, 0.1)
                b.running_var.uniform_(0.5, 1.5)
    return module


def imported(module, shape):
    """(the network here, largest difference as a share, how many of the module's numbers are not
    here, bit for bit)
    """
    import chainrule
    from chainrule.interchange import reading

    differences, compare = [], reading.compare

    def kept(*arguments):
        differences.append(compare(*arguments))
        return differences[-1]

    reading.compare = kept
    try:
        trained = chainrule.from_torch(module, shape)
    finally:
        reading.compare = compare
    statistics = [b for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var"))]
    theirs = [x.detach().numpy().ravel() for x in (*module.parameters(), *statistics)]
    return trained, differences[0], _lost(theirs, [trained.parameters, trained.statistics])


def _lost(theirs, ours):
    """How many of the first numbers are not among the second, as often as they occur."""
    a, b = (np.sort(np.concatenate([x.view(np.uint32) for x in xs])) for xs in (theirs, ours))
    if np.array_equal(a, b):
        return 0
    (values, counts), (own, found) = (np.unique(x, return_counts=True) for x in (a, b))
    place = np.searchsorted(own, values).clip(max=len(own) - 1)
    here = np.where(own[place] == values, found[place], 0)
    return int(np.maximum(counts - here, 0).sum())


def import_module(tables, name, make, shape):
    """Import a module, and add its row."""
    began = time.perf_counter()
    try:
        trained, difference, lost = imported(randomized(make(), shape), shape)
    except Exception as error:
        tables.add("imported", name, "", "", f"{type(error).__name__}: {str(error)[:300]}", good=False)
        return
    note = "all bits" if not lost else f"{lost:,} numbers are not the module's"
    weights = f"{trained.plan.network.parameters.size:,}"
    tables.add("imported", name, weights, f"{difference:.1e}", note, good=difference <= LIMIT)
    print(f"{time.perf_counter() - began:.0f} s", flush=True)


def refuse_module(tables, name, make, shape):
    """See that a module is refused, and add what is missing."""
    import chainrule
    from chainrule.errors import SettingError

    try:
        chainrule.from_torch(randomized(make(), shape), shape)
    except SettingError as error:
        tables.add("refused", name, missing(str(error)))
    except Exception as error:
        tables.add("refused", name, f"{type(error).__name__}: {str(error)[:300]}", good=False)
    else:
        tables.add("refused", name, "it is imported, so it belongs to the other table", good=False)


def missing(message):
    """Which operations a refusal names, each once; or why there is no graph."""
    if "no layer here" not in message:
        return message.split(" (")[0] + ": " + message.split(" (", 1)[1].split(":")[0].rstrip(")")
    found = re.findall(r"\((\w+)(: [^;]*)?\)(?:;|$)", message.partition(": ")[2])
    return ", ".join(dict.fromkeys(f"`{name}`{reason}" for name, reason in found))


def import_files(tables, wanted):
    """Import files of ONNX."""
    import chainrule

    with tempfile.TemporaryDirectory() as folder:
        for models in (sklearn_models, keras_models):
            try:
                for name, path, expected, x in models(Path(folder)):
                    if not wanted("files", name):
                        continue
                    trained = chainrule.from_onnx(path)
                    found = trained.probabilities(x)
                    found = trained.raw(x) if found is None else found
                    found = found[:, -expected.shape[1] :]  # of two classes Keras predicts the second
                    share = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
                    size = f"{trained.plan.network.parameters.size:,}"
                    tables.add("imported", name, size, f"{share:.1e}", trained.target.about, good=share <= LIMIT)
            except Exception as error:
                tables.add("imported", models.__name__, "", "", f"{type(error).__name__}: {error}"[:300], good=False)


def export_all(tables, wanted):
    """Write networks as code for PyTorch, run it, and compare predictions."""
    import chainrule
    from chainrule.network import Network

    for text, shape in OWN.items():
        if not wanted("exports", text):
            continue
        random = np.random.default_rng(0)
        x = random.integers(0, 9, (40, *shape)) if "embedding" in text else random.normal(size=(40, *shape))
        data = chainrule.from_arrays(x.astype(np.float32), np.arange(40) % 3, task="classification")
        export_network(tables, f"`{text}`", chainrule.train(Network(text, shape), data, epochs=2))
    for name, (make, shape) in modules().items():
        if wanted("exports", name):
            export_network(tables, name, imported(randomized(make(), shape), shape)[0])
    for name in ("resnet18", "mobilenet_v3_small", "convnext_tiny", "vit_b_32", "swin_t", "r3d_18", "fcn_resnet50"):
        if wanted("exports", name):
            export_network(tables, name, imported(randomized(zoo(name), ZOO[name]), ZOO[name])[0])


def export_network(tables, name, trained):
    """Export a network as code for PyTorch, and add how far its predictions are off."""
    import torch

    from chainrule.interchange import export

    network = trained.plan.network
    random, shape = np.random.default_rng(1), (3, *network.input_shape)
    tokens = "Embedding" in network.nodes[0].layer.kind
    x = (random.integers(0, 9, shape) if tokens else random.normal(size=shape)).astype(np.float32)
    expected = network.predict(trained.parameters, x, trained.statistics)
    try:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / "model.py"
            export(trained, path)
            spec = importlib.util.spec_from_file_location("model", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found = module.load()(torch.from_numpy(x)).numpy()
        difference = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
    except Exception as error:
        tables.add("exported", name, "", f"{type(error).__name__}: {str(error)[:300]}", good=False)
        return
    tables.add("exported", name, f"{network.parameters.size:,}", f"{difference:.1e}", good=difference <= LIMIT)


def main() -> int:
    """Import all, or those that are named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"networks, or kinds: {', '.join(KINDS)}")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    tables = Tables()

    def wanted(kind, name):
        return not arguments.names or kind in arguments.names or name in arguments.names

    def each(kind, run, found):
        for name, (make, shape) in found.items():
            if wanted(kind, name):
                run(tables, name, make, shape)
                gc.collect()
                if arguments.write:
                    tables.write(arguments.write)

    def torchvision(names):
        return {name: (lambda name=name: zoo(name), shape) for name, shape in names.items()}

    each("modules", import_module, modules())
    import_files(tables, wanted)
    each("refused", refuse_module, refused_modules() | torchvision(REFUSED))
    export_all(tables, wanted)
    each("zoo", import_module, torchvision(ZOO))
    if arguments.write:
        tables.write(arguments.write)
    if rest := untried():
        tables.add("refused", ", ".join(rest), "in none of the lists", good=False)
    print(f"{sum(map(len, tables.rows.values()))} rows, {tables.failed} failed")
    return int(tables.failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
