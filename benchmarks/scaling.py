"""Predict how training scales to thousands of ranks, and compare the model with what runs here.

    python benchmarks/scaling.py [--measure] [--validate] [--only PART ...] [--write] [--link NAME=MICROSECONDS,GB/S]

Predicts from the inputs in docs/scaling.json: the time of a step by samples per rank, the bytes of
each part of the gradient, and what connects the ranks. --measure measures these inputs on this
machine, --validate what 1, 2 and 4 ranks do here (both with the extra mpi); --only leaves all but
some networks, or the link, as they were measured before; --write writes
docs/scaling.json and the tables of docs/clusters.md. A --link is another interconnect to predict
for. The formulas and their sources are in cluster/model.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from cluster.model import ALGORITHMS, Link, Node, Work, least_samples, least_weights, step_seconds, strong, weak

DOCS = Path(__file__).parent.parent / "docs"
INPUTS, PAGE = DOCS / "scaling.json", DOCS / "clusters.md"
NETWORKS = ("small", "medium", "large", "pictures", "gpt")
"""Three dense networks, convolutions on pictures of 28 x 28, and a transformer on 64 characters."""
RANKS = (2, 4, 8, 16, 64, 256, 1024, 4096)
HERE = (1, 2, 4)
"""The numbers of ranks that are run on this machine."""
TOGETHER = 64
"""The most ranks that share the memory of a machine in these tables."""
ENOUGH = 0.8
"""The efficiency from which ranks pay."""
SAMPLES = 128
"""Samples on each rank, for which the smallest network that pays is looked for."""

LINKS = {
    # Ethernet by IEEE 802.3ae (10 Gb/s), 802.3by (25 Gb/s) and 802.3ba (100 Gb/s): TCP carries 1,448 bytes
    # in a frame that takes 1,538 on the wire. Through the kernel a message takes 20 to 50 microseconds
    # (malgukke.de/expertise/nodecommu.html); the middle is taken.
    "10 GbE": (30e-6, 10e9 / 8 * 1448 / 1538),
    "25 GbE": (30e-6, 25e9 / 8 * 1448 / 1538),
    # Without the kernel: 1.93 microseconds measured with Open MPI on Ethernet of 40 Gb/s
    # (news-blogs.cisco.com/performance/mpi-over-40gb-ethernet).
    "100 GbE, RDMA": (1.93e-6, 100e9 / 8 * 1448 / 1538),
    # HDR: four lanes of 50 Gb/s (InfiniBand Trade Association, Volume 2). A message takes 1 to 5 microseconds
    # (aspsys.com/content/glossary/glos_low_latency); QLogic's manual of its adapters shows 1.05 to 1.26.
    "InfiniBand HDR": (1.3e-6, 200e9 / 8),
}
"""The latency in seconds and the bytes per second of interconnects."""


def links(inputs: dict[str, Any], own: list[str]) -> dict[str, Link]:
    """What ranks may be connected by: as measured here, known ones, and those of the user."""
    measured = Link(**inputs["link"])
    named = {name: Link(*values, measured.addition) for name, values in LINKS.items()}
    for text in own:
        name, _, values = text.partition("=")
        try:
            latency, bandwidth = map(float, values.split(","))
        except ValueError:
            raise SystemExit(
                f"scaling: --link {text!r}: write it as NAME=MICROSECONDS,GB/S, such as lab=20,1.2"
            ) from None
        named[name] = Link(latency * 1e-6, bandwidth * 1e9, measured.addition)
    return {"shared memory": measured, **named}


def works(inputs: dict[str, Any]) -> dict[str, Work]:
    """The work of each network that was measured."""
    return {name: Work(**work) for name, work in inputs["work"].items()}


def most(link: str) -> int:
    """How many ranks an interconnect connects at most."""
    return TOGETHER if link == "shared memory" else RANKS[-1]


def table(header: list[str], rows: Iterator[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def strong_table(inputs: dict[str, Any], known: dict[str, Link], algorithm: str) -> str:
    """How many times faster than one rank, where the mini-batch is divided."""

    def rows() -> Iterator[list[str]]:
        for name, work in works(inputs).items():
            batch = work.samples[-1]
            for of, link in known.items():
                counts = (n if n <= min(batch, most(of)) else 0 for n in RANKS)
                speeds = (strong(work, batch, n, link, algorithm=algorithm) if n else 0 for n in counts)
                yield [f"{name}, {batch}", of, *(f"{speed:.2f}" if speed else "" for speed in speeds)]

    return table(["network, batch", "interconnect", *(f"{n:,}" for n in RANKS)], rows())


def weak_table(inputs: dict[str, Any], known: dict[str, Link], algorithm: str) -> str:
    """The efficiency where each rank takes the network's usual mini-batch."""

    def rows() -> Iterator[list[str]]:
        for name, work in works(inputs).items():
            samples = work.samples[-1]
            for of, link in known.items():
                shares = (weak(work, samples, n, link, algorithm=algorithm) for n in RANKS if n <= most(of))
                none = [""] * sum(n > most(of) for n in RANKS)
                yield [f"{name}, {samples}", of, *(f"{share:.0%}" for share in shares), *none]

    return table(["network, samples per rank", "interconnect", *(f"{n:,}" for n in RANKS)], rows())


def algorithms_table(inputs: dict[str, Any], known: dict[str, Link]) -> str:
    """The efficiency by the sums that chainrule makes, and by the fastest known ones."""

    def rows() -> Iterator[list[str]]:
        for name, work in works(inputs).items():
            for of, link in known.items():
                if link.is_memory:
                    continue
                both = ([weak(work, work.samples[-1], n, link, algorithm=a) for a in ("in order", "fastest")]
                        for n in RANKS)  # fmt: skip
                yield [f"{name}, {work.samples[-1]}", of, *(f"{own:.0%} / {best:.0%}" for own, best in both)]

    return table(["network, samples per rank", "interconnect", *(f"{n:,}" for n in RANKS)], rows())


def size_table(inputs: dict[str, Any], known: dict[str, Link]) -> str:
    """From where on ranks pay: samples on each rank, and weights of a dense network."""
    counts, named = (2, 16, 256, 4096), works(inputs)

    def rows() -> Iterator[list[str]]:
        for of, link in known.items():
            if of == "shared memory":
                continue
            for name, work in named.items():
                found = (least_samples(work, n, link, ENOUGH) for n in counts)
                yield [of, f"samples per rank, {name}", *("never" if n is None else f"{n:,}" for n in found)]
            large = named["large"]
            rate = 2.0 * 3 * large.bytes / 4 * large.samples[-1] / large.seconds[-1]
            update, fixed = large.seconds[0] / (large.bytes / 4), named["small"].seconds[0]
            found = (least_weights(SAMPLES, n, link, ENOUGH, rate, update, fixed) for n in counts)
            yield [of, f"weights, {SAMPLES} samples per rank", *("never" if n is None else f"{n:,}" for n in found)]

    return table(["interconnect", f"from which {ENOUGH:.0%} are reached", *(f"{n:,} ranks" for n in counts)], rows())


def validation_table(inputs: dict[str, Any], algorithm: str) -> str:
    """What ranks of one thread do on this machine beside what the model says."""
    link, cores, named = Link(**inputs["link"]), inputs["cores"], works(inputs)

    def rows() -> Iterator[list[str]]:
        for name, measured in inputs.get("validation", {}).items():
            work = named[name]
            for ranks, seconds in ((int(n), s) for n, s in measured.items()):
                node = Node(cores, ranks, inputs["switch"])
                predicted = step_seconds(work, work.samples[-1] / ranks, ranks, link, node, algorithm)
                error = predicted / seconds - 1
                yield [name, str(ranks), f"{1e6 * predicted:,.0f}", f"{1e6 * seconds:,.0f}", f"{error:+.0%}"]

    return table(["network", "ranks", "predicted, µs per step", "measured, µs per step", "error"], rows())


def measure(inputs: dict[str, Any], only: list[str]) -> dict[str, Any]:
    """The inputs, measured on this machine."""
    from cluster import measured

    found: dict[str, Any] = {"work": dict(inputs.get("work", {}))}
    if "link" in only:
        found["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        link, found["switch"] = measured.link(found["cores"])
        found["link"] = asdict(link)
        print(f"{link}, {1e6 * found['switch']:,.1f} µs for each rank without a core")
    for name in (name for name in NETWORKS if name in only):
        work = measured.work(name)
        print(
            f"{name}: {', '.join(f'{n}: {1e6 * s:,.1f} µs' for n, s in zip(work.samples, work.seconds, strict=True))}"
        )
        found["work"][name] = asdict(work)
    return inputs | found


def validate(inputs: dict[str, Any], only: list[str]) -> dict[str, Any]:
    """The seconds of a step of 1, 2 and 4 ranks, each of one thread, on this machine."""
    from cluster import measured

    names = [name for name in NETWORKS if name in only]
    found = {n: measured.under_mpirun(n, *names) for n in HERE}
    new = {name: {str(n): found[n][k] for n in HERE} for k, name in enumerate(names)}
    return inputs | {"validation": inputs.get("validation", {}) | new}


def write(tables: dict[str, str]) -> None:
    """Replace the tables of the page."""
    text = PAGE.read_text()
    for name, content in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n\n{content}\n\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)


def main() -> int:
    """Predict and print; measure, validate and write if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure the inputs on this machine")
    parser.add_argument("--validate", action="store_true", help="run 1, 2 and 4 ranks on this machine")
    parts = ["link", *NETWORKS]
    parser.add_argument("--only", nargs="+", default=parts, choices=parts, help="what is measured, or validated")
    parser.add_argument("--write", action="store_true", help="write docs/scaling.json and docs/clusters.md")
    parser.add_argument("--link", action="append", default=[], metavar="NAME=MICROSECONDS,GB/S")
    parser.add_argument("--algorithm", default="in order", choices=["fastest", *ALGORITHMS])
    options = parser.parse_args()
    inputs: dict[str, Any] = json.loads(INPUTS.read_text()) if INPUTS.exists() else {}
    inputs = measure(inputs, options.only) if options.measure or not inputs else inputs
    inputs = validate(inputs, options.only) if options.validate else inputs
    known = links(inputs, options.link)
    tables = {
        "strong": strong_table(inputs, known, options.algorithm),
        "weak": weak_table(inputs, known, options.algorithm),
        "algorithms": algorithms_table(inputs, known),
        "sizes": size_table(inputs, known),
        "validation": validation_table(inputs, options.algorithm),
    }
    for name, content in tables.items():
        print(f"\n{name}\n{content}")
    if options.write:
        INPUTS.write_text(json.dumps(inputs, indent=1) + "\n")
        write(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
