"""The command generate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, Threads
from chainrule.summary import visible

if TYPE_CHECKING:
    from chainrule.data.tokens import Tokens
    from chainrule.training.generation import Written


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
    top_k: Annotated[
        int | None, typer.Option(help="Draw from so many tokens, the likeliest ones; without it, from all.")
    ] = None,
    samples: Annotated[int, typer.Option(help="How many texts to write, all after the same prompt.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers; the same seed writes the same.")] = 0,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Let a language model, a run on a text, continue a prompt.

    Each token is predicted from those before it. Of a network with attention or positions these
    are at most as many as in a window of its training: when they fill it, the older half is left
    out.

    Examples:

      chainrule generate runs/book-1 --prompt "Once" --length 200 --temperature 0.8 --seed 1

      chainrule generate runs/book-1 --prompt "Once" --samples 5 --top-k 10

      chainrule generate runs/book-1 --prompt "Once" --temperature 0 --json
    """
    from chainrule.runs import Run

    trained = Run.open(run).trained
    tokens = trained.tokens
    reader = trained.reader(samples, threads)
    if reader.note:
        display.err.print(f"  {reader.note}")
    trained.give_back(reader, threads)
    written = trained.written_together(samples, prompt, length, temperature, seed, threads, top_k)
    if json:
        texts = [_as_json(tokens, text) for text in zip(*written, strict=True)]
        display.print_json({"prompt": prompt, **(texts[0] if samples == 1 else {"samples": texts})})
        return
    if samples == 1:
        print(visible(prompt), end="", flush=True)
        for piece in tokens.pieces(one.number for (one,) in written):
            print(visible(piece), end="", flush=True)
        print()
        return
    for k, text in enumerate(zip(*written, strict=True), start=1):
        display.out.print(display.bold(f"sample {k}"))
        print(visible(prompt) + visible(tokens.decode([one.number for one in text])), end="\n\n")


def _as_json(tokens: Tokens, written: Sequence[Written]) -> dict[str, Any]:
    drawn = [one.number for one in written]
    return {
        "text": tokens.decode(drawn),
        "tokens": [{"token": tokens.text(one.number), "probability": one.probability} for one in written],
    }
