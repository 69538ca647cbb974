"""The command play."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import (
    Drop,
    Length,
    Order,
    Read,
    Target,
    Task,
    Tokens,
    in_order,
    leave_out,
    output_suffix,
    read_as,
)
from chainrule.errors import SettingError, require

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.runs import Run


def play(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA or RUN",
            show_default=False,
            help="A CSV, TSV, Parquet, Arrow, Excel or NPZ file, a text or a folder of images to train on, or a run to"
            " replay.",
        ),
    ] = None,
    target: Target = None,
    task: Task = None,
    order: Order = None,
    drop: Drop = None,
    read: Read = None,
    tokens: Tokens = None,
    length: Length = None,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Write the page with a recording of its first network to this HTML file, which needs no server.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Open the live page, where you can watch a network learn step by step.

    Examples:

      chainrule play

      chainrule play houses.csv --target price --read zip=category

      chainrule play book.txt --length 32

      chainrule play runs/digits-1

      chainrule play --save first-step.html
    """
    require(host.strip() != "", "--host is empty; pass an address, such as 127.0.0.1")
    require(0 <= port <= 65535, f"--port {port}: a port is a number from 0 to 65535")
    if save is not None:
        leave_out(context, "--save writes a page with its own network, which needs no server", "save", "browser")
        _write_recording(save)
        return
    chosen = target or task or order or drop or read or tokens or length
    require(
        what is not None or not chosen,
        "--target, --task, --order, --drop, --read, --tokens and --length are for a file; pass it, or leave them out",
    )
    from chainrule.data import BUILTIN, load
    from chainrule.play.samples import TEST, VALIDATION, require_in_memory
    from chainrule.play.server import serve
    from chainrule.runs import Run

    dataset, run, made = None, None, None
    is_run = what is not None and Path(what, "manifest.json").exists()
    if is_run:
        assert what is not None
        leave_out(context, "a RUN has its own data and target", "what", "host", "port", "browser")
        run = Run.open(what)
        words = f"{what} was made elsewhere and has no data; train it on yours, then play the run that this makes"
        require(not run.is_imported, f"{words}: chainrule train DATA --from {what}")
        require_in_memory(str(run.data["name"]), run.trained.plan.blocks is not None)
        dataset = run.load_data()
        require_in_memory(dataset.name, dataset.on_disk)
        made = partial(_report, run, dataset)
    elif what in BUILTIN:
        raise SettingError(f"{what} is built in: run 'chainrule play' and choose it on the page")
    elif what is not None:
        dataset = load(
            what,
            target=target or None,
            task=task,
            order=in_order(order),
            drop=drop or [],
            read=read_as(read),
            tokens=tokens,
            length=length,
            validation=VALIDATION,
            test=TEST,
        )

    def ready(address: str) -> None:
        if host not in ("127.0.0.1", "localhost", "::1"):
            display.err.print(
                display.bold("Warning") + f": the page is served on {host}, so others on your network can reach it."
                " Whoever has the address below can train networks on this computer and see the data that you open."
            )
        display.out.print(address)
        display.err.print("press Ctrl-C to stop")
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(host, port, dataset, run, ready, made)


def _report(run: Run, data: Dataset) -> str:
    """The report on a run, as HTML."""
    from chainrule.reports import report

    return report(run, data).html


def _write_recording(path: Path) -> None:
    """Write the page with a recording of its first network."""
    output_suffix(path, "the page is", ".html", names=["--save"])
    from chainrule.play.saving import STEPS, saved_page

    display.write(path, saved_page(steps=STEPS).encode(), f"a recording of {len(STEPS)} steps", ["--save"])
