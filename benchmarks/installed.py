"""What chainrule's dependencies take on disk.

python benchmarks/installed.py

Of each: the megabytes of its own files, and of what would go if chainrule did without it. Run it in an environment of
its own, where chainrule is installed without extras to measure what everybody gets; compiled files count.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions


def named(name: str) -> str:
    """A distribution's name as all spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(distribution: Distribution) -> set[str]:
    """What a distribution requires, without its extras."""
    return {
        named(re.match(r"[\w.-]+", requirement)[0])  # type: ignore[index]
        for requirement in distribution.requires or ()
        if "extra ==" not in requirement
    }


def size(distribution: Distribution) -> float:
    """Megabytes on disk."""
    paths = [distribution.locate_file(file) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6  # type: ignore[attr-defined]


def main() -> None:
    """Print a line for each dependency, the largest first."""
    found = {named(one.metadata["Name"]): one for one in distributions()}
    sizes = {name: size(one) for name, one in found.items()}

    def reached(names: set[str]) -> set[str]:
        there: set[str] = set()
        while new := (names & found.keys()) - there:
            there |= new
            names = set().union(*(needs(found[name]) for name in new))
        return there

    direct = needs(found["chainrule"])
    everything = reached(direct)
    rows = []
    for name in sorted(direct):
        others = everything - reached(direct - {name}) - {name}
        gone = sum(sizes[one] for one in others) + (sizes[name] if name not in reached(direct - {name}) else 0)
        rows.append((sizes[name], gone, name, ", ".join(sorted(others, key=lambda one: -sizes[one]))))
    print(f"{'':14} {'MB':>6} {'saved without it':>17}  what it alone brings")
    for own, gone, name, others in sorted(rows, reverse=True):
        print(f"{name:14} {own:6.1f} {gone:17.1f}  {others}")
    print(f"{'all':14} {sum(sizes[name] for name in everything):6.1f}   in {len(everything)} packages")


if __name__ == "__main__":
    main()
