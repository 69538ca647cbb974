"""The command generate."""

from __future__ import annotations

from typing import Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, Threads
from chainrule.summary import visible


def generate(
    run: RunFolder,
    prompt: Annotated[str, typer.Option(help="The text to continue; without one, a line begins.")] = "",
    length: Annotated[int, typer.Option(help="How many tokens to write: characters, unless the run has others.")] = 200,
    temperature: Annotated[
        float,
        typer.Option(
            help="1 draws each token by its predicted probability, lower ones prefer likely tokens, 0 takes the "
            "likeliest."
        ),
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers; the same seed writes the same.")] = 0,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Let a language model, a run on a text, continue a prompt.

    Examples:

      chainrule generate runs/book-1 --prompt "Once" --length 200 --temperature 0.8 --seed 1

      chainrule generate runs/book-1 --prompt "Once" --temperature 0 --json
    """
    from chainrule.runs import Run

    trained = Run.open(run).trained
    tokens, written = trained.tokens, trained.written(prompt, length, temperature, seed, threads)
    if json:
        drawn = list(written)
        display.print_json({
            "prompt": prompt, "text": tokens.decode([one.number for one in drawn]),
            "tokens": [{"token": tokens.text(one.number), "probability": one.probability} for one in drawn],
        })  # fmt: skip
        return
    print(visible(prompt), end="", flush=True)
    for piece in tokens.pieces(one.number for one in written):
        print(visible(piece), end="", flush=True)
    print()
