"""The disk space that chainrule's dependencies take.

    python benchmarks/installed.py

For each: the megabytes of its own files, and those that removing it would save. Run it in a
separate environment with chainrule installed without extras, to measure what every user gets;
compiled bytecode counts.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions


def normalize(name: str) -> str:
    """A distribution's normalized name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(distribution: Distribution) -> set[str]:
    """The distributions that one requires, without its extras."""
    return {
        normalize(re.match(r"[\w.-]+", requirement)[0])  # type: ignore[index]
        for requirement in distribution.requires or ()
        if "extra ==" not in requirement
    }


def size(distribution: Distribution) -> float:
    """Megabytes on disk."""
    paths = [distribution.locate_file(file) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6  # type: ignore[attr-defined]


def main() -> None:
    """Print a line for each dependency, the largest first."""
    installed = {normalize(one.metadata["Name"]): one for one in distributions()}
    sizes = {name: size(one) for name, one in installed.items()}

    def closure(names: set[str]) -> set[str]:
        """These distributions and everything that they require."""
        closed: set[str] = set()
        while new := (names & installed.keys()) - closed:
            closed |= new
            names = set().union(*(needs(installed[name]) for name in new))
        return closed

    direct = needs(installed["chainrule"])
    everything = closure(direct)
    rows = []
    for name in sorted(direct):
        others = everything - closure(direct - {name}) - {name}
        saved = sum(sizes[one] for one in others) + (sizes[name] if name not in closure(direct - {name}) else 0)
        rows.append((sizes[name], saved, name, ", ".join(sorted(others, key=lambda one: -sizes[one]))))
    print(f"{'':14} {'MB':>6} {'saved without it':>17}  required by it alone")
    for own, saved, name, others in sorted(rows, reverse=True):
        print(f"{name:14} {own:6.1f} {saved:17.1f}  {others}")
    print(f"{'all':14} {sum(sizes[name] for name in everything):6.1f}   in {len(everything)} packages")


if __name__ == "__main__":
    main()
