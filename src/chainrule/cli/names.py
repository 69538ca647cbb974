"""The names that settings can be given by: in the help of train, and in the command names."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand

from chainrule.cli import display
from chainrule.cli.options import AsJson
from chainrule.errors import unknown

OPTIONS = {
    "layers": "--network", "activations": "--network", "losses": "--loss", "penalties": "--penalty",
    "optimizers": "--optimizer", "schedules": "--optimizer '... schedule=NAME'",
    "distributions": "--network '64 relu NAME'", "augmentations": "--augment",
    "metrics": "--metrics, --monitor; and all of scikit-learn's scorers",
}  # fmt: skip
"""Each group of names, and where its names are used."""


Maker: TypeAlias = Callable[..., Any] | str
"""What makes the thing that a name stands for; for a metric what it is."""


def groups() -> dict[str, Mapping[str, Maker]]:
    """The names of each group, with what makes them."""
    from chainrule import augmentation, distributions, losses
    from chainrule.descent import optimizers, schedules
    from chainrule.layers import Bidirectional, Branches, Residual, notation
    from chainrule.losses import penalties
    from chainrule.training import catalog

    layers, activations = dict[str, Callable[..., Any]](), dict[str, Callable[..., Any]]()
    for name, maker in sorted(notation.named().items()):
        kind = maker.func if isinstance(maker, functools.partial) else maker
        (activations if getattr(kind, "output_symbol", "") == "a" else layers)[name] = maker
    layers |= {"residual(...)": Residual, "branches(...)": Branches, "bidirectional(...)": Bidirectional}
    optimizer_names = {name: maker for name, maker in optimizers.NAMED.items() if maker.__name__ == name}
    named_penalties = {name: getattr(penalties, name) for name in ("l1", "l2", "elastic")}
    measures = {
        name: f"{own.about[0].upper()}{own.about[1:]} (for {', '.join(own.tasks)})"
        for name, own in catalog.METRICS.items()
    }
    return {
        "layers": layers, "activations": activations, "losses": losses.NAMED, "penalties": named_penalties,
        "optimizers": optimizer_names, "schedules": schedules.NAMED, "distributions": distributions.NAMED,
        "metrics": measures, "augmentations": augmentation.NAMED,
    }  # fmt: skip


class WithNames(TyperCommand):
    """A command whose help ends with all names."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        lines = (f"{group}: {', '.join(names)}" for group, names in groups().items())
        self.epilog = "\n\n".join([*lines, "'chainrule names losses' says what each is, and its settings."])
        super().format_help(ctx, formatter)


def names(
    group: Annotated[
        str | None,
        typer.Argument(metavar="GROUP", show_default=False, help="One of " + ", ".join(OPTIONS) + "; by default all."),
    ] = None,
    json: AsJson = False,
) -> None:
    """List the layers, losses, optimizers and everything else that can be named, with settings.

    A setting is written after the name, in order or by its own name: "adam 0.01 beta1=0.95".

    Examples:

      chainrule names

      chainrule names optimizers
    """
    if group is not None and group not in OPTIONS:
        raise unknown("group of names", group, OPTIONS)
    chosen = {name: makers for name, makers in groups().items() if group in (None, name)}
    if json:
        display.print_json({
            title: {name: {"settings": settings(maker), "about": about(maker)} for name, maker in makers.items()}
            for title, makers in chosen.items()
        })  # fmt: skip
        return
    for title, makers in chosen.items():
        display.out.print(display.bold(title) + f" ({OPTIONS[title]})")
        for name, maker in makers.items():
            display.out.print(_indented(" ".join((name, *settings(maker))), 2))
            display.out.print(_indented(about(maker), 6), end="\n" if about(maker) else "")


def _indented(text: str, columns: int) -> str:
    return textwrap.fill(
        text, min(display.out.width, 100), initial_indent=" " * columns, subsequent_indent=" " * (columns + 2)
    )


def settings(maker: Maker) -> list[str]:
    """The settings that a text can give, in order, with their defaults."""
    if isinstance(maker, str) or not getattr(maker, "in_text", True):  # layers in parentheses are no settings
        return []
    fixed = maker.keywords if isinstance(maker, functools.partial) else {}
    taken = [p for name, p in inspect.signature(maker).parameters.items() if name != "name" and name not in fixed]
    return [_written(p) for p in taken]


def _written(setting: inspect.Parameter) -> str:
    """A setting that must be given in capitals, one without a value by default in brackets."""
    if setting.default is setting.empty:
        return setting.name.upper()
    if isinstance(setting.default, tuple):  # any number of values
        return f"[{setting.name} {' '.join(map(_default, setting.default))}]"
    is_unwritten = setting.default is None or " " in str(setting.default)  # a text of several words can't be given
    return f"[{setting.name}]" if is_unwritten else f"{setting.name}={_default(setting.default)}"


def _default(value: Any) -> str:
    from chainrule.kinds import described

    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else described(value)


def about(maker: Maker) -> str:
    """The first sentence of what is made."""
    if isinstance(maker, str):
        return maker
    kind = maker.func if isinstance(maker, functools.partial) else maker
    text = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".")
