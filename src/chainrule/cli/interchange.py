"""The commands import and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from warnings import catch_warnings, simplefilter

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder
from chainrule.errors import SettingError, require

if TYPE_CHECKING:
    from chainrule.arrays import Shape


def import_(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", show_default=False, help="model.onnx, or model.safetensors with its recipe."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The folder of the new run.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZES",
            help="The shape of a sample, such as 3,224,224, where the file leaves it open; once for each input.",
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="OUTPUT", help="The name of the output, if there are several.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="'classification', 'multilabel' or 'regression'; by default what the network's end says.",
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="The classes in the order of the outputs, such as 'cat,dog'.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="What is subtracted from samples: a number, or one for each feature or channel: 124,116,104."
        ),
    ] = None,
    deviation: Annotated[str | None, typer.Option(help="What samples are then divided by, in the same form.")] = None,
    json: AsJson = False,
) -> None:
    """Import a network that was made elsewhere, as a run without steps and without data.

    Its weights are those of the file to the last bit. What has no layer here is named, all of it.

    Examples:

      chainrule import model.onnx -o imported

      chainrule import resnet.onnx -o resnet --shape 3,64,64 --mean 124,116,104 --deviation 58,57,57

      chainrule explain imported --data houses.csv --target price

      chainrule train houses.csv --target price --from imported
    """
    from chainrule.interchange import from_onnx, from_safetensors
    from chainrule.runs.folder import check_free

    check_free(output)
    given: dict[str, Any] = {
        "task": task, "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "mean": _numbers("--mean", mean, 0.0), "deviation": _numbers("--deviation", deviation, 1.0),
    }  # fmt: skip
    if model.suffix == ".safetensors":
        others = [shape, of, task, classes, mean, deviation]
        require(all(x is None for x in others), "a recipe says what the weights are for; leave the options out")
        trained = from_safetensors(model)
    elif model.suffix == ".onnx":
        shapes = None if shape is None else [_sizes(one) for one in shape]
        with catch_warnings(record=True) as caught:
            simplefilter("always")
            trained = from_onnx(model, shape=shapes, output=of, **given)
        for warning in caught:
            display.err.print(str(warning.message), markup=False)
    else:
        raise SettingError(f"{model}: an import is of model.onnx or model.safetensors")
    trained.save(output)
    network = trained.plan.network
    if json:
        display.print_json({
            "run": str(output), "input_shape": network.input_shape, "output_shape": network.output_shape,
            "weights": network.parameters.size, "target": trained.target.as_json(),
        })  # fmt: skip
        return
    shapes_of = [" x ".join(map(str, part)) or "1" for part in (network.input_shape, network.output_shape)]
    lines = {
        "network": f"{len(network.layers)} layers, {network.parameters.size:,} weights, {' to '.join(shapes_of)}",
        "predicts": trained.target.about, "run": str(output), "to see it": f"chainrule show {output}",
        "to explain a weight": f"chainrule explain {output} --data DATA",
        "to train further": f"chainrule train DATA --from {output}",
    }  # fmt: skip
    width = max(map(len, lines))
    for name, value in lines.items():
        display.out.print(display.bold(f"{name:<{width}}") + f"  {value}")


def _sizes(text: str) -> Shape:
    """A shape, from text such as 3,224,224."""
    parts = text.replace("x", ",").split(",")
    fits = all(part.strip().isdigit() and int(part) > 0 for part in parts)
    require(fits, f"--shape {text!r}: it takes sizes above 0, such as 3,224,224")
    return tuple(map(int, parts))


def _numbers(option: str, text: str | None, default: float) -> Any:
    """A number or several, from text such as 124,116,104."""
    if text is None:
        return default
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(f"{option} {text!r}: it takes a number, or several as in 124,116,104") from None
    return numbers if len(numbers) > 1 else numbers[0]


def export(
    run: RunFolder,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="model.onnx, model.safetensors or model.py (for PyTorch)."),
    ],
    json: AsJson = False,
) -> None:
    """Export a run for other tools: as ONNX, as weights with their recipe, or as code for PyTorch.

    ONNX has the preparation of the samples in it, where it can express it: it takes the columns of
    the table as they are. What is written is verified with ONNX Runtime, if that is installed.

    Examples:

      chainrule export runs/houses-1 -o houses.onnx

      chainrule export runs/digits-1 -o digits.safetensors

      chainrule export runs/digits-1 -o digits.py
    """
    from chainrule.interchange import export as exported
    from chainrule.runs import open as open_run

    written = exported(open_run(run), output)
    if json:
        display.print_json({"file": str(output), **written.as_json()})
        return
    for note in written.notes:
        display.err.print(f"  {note}")
    display.out.print(f"wrote {output}")
