"""How a trained language model writes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from chainrule.data import Preparation, Target
from chainrule.data.tokens import Tokens
from chainrule.engine import Predictor
from chainrule.errors import DataError
from chainrule.generators import seed as checked_seed
from chainrule.training import Plan
from chainrule.training.causality import require_causal
from chainrule.training.generation import TEMPERATURE, Written, first_tokens, write


class Writing:
    """What a trained network can do that is a language model; see `Trained`."""

    plan: Plan
    target: Target
    preparation: Preparation | None

    @abstractmethod
    def predictor(self, threads: int | None = None) -> Predictor:
        """What predicts samples as the network takes them, with at most so many threads."""

    def generate(
        self, prompt: str = "", length: int = 200, temperature: float = TEMPERATURE, seed: int = 0,
        threads: int | None = None,
    ) -> str:  # fmt: skip
        """The prompt, and how the network continues it: a language model, which was trained on a
        text.

        Args:
            prompt: the text to continue; without one, a line begins
            length: how many tokens to write, which are characters unless it was trained on others
            temperature: 1 draws each token by its predicted probability; lower ones prefer likely
                tokens, and 0 takes the likeliest
            seed: of the random numbers
            threads: with at most so many

        Raises:
            DataError: for a network that was not trained on a text, and for a prompt with a
                character that it does not know
            SettingError: for other settings than these, and for a network that is not causal

        Examples:
            >>> import chainrule
            >>> rhyme = chainrule.data.Text("rhyme", "Row, row, row your boat, gently down the stream. " * 40)
            >>> trained = chainrule.train(rhyme, epochs=5, length=16)
            >>> trained.generate("Row", length=5, temperature=0)
            'Row, row'
        """
        known = self.tokens
        written = [one.number for one in self.written(prompt, length, temperature, seed, threads)]
        return prompt + known.decode([*known.encode(prompt), *written])[len(prompt) :]

    def written(
        self, prompt: str = "", length: int = 200, temperature: float = TEMPERATURE, seed: int = 0,
        threads: int | None = None,
    ) -> Iterator[Written]:  # fmt: skip
        """The tokens that `generate` adds, one by one, each with its predicted probability."""
        known = self.tokens
        require_causal(self.plan.network, self.target)
        predict, (window,) = self.predictor(threads), self.plan.network.input_shape
        return write(
            predict, self.plan.loss, window, first_tokens(known, prompt), length, temperature, checked_seed(seed),
            "generate",
        )  # fmt: skip

    @property
    def tokens(self) -> Tokens:
        """The vocabulary of the text that it was trained on; raises DataError if there is none."""
        tokens = None if self.preparation is None else self.preparation.tokens
        if tokens is None:
            raise DataError(f"it predicts {self.target.described} and continues no text; train it on a text")
        return tokens
