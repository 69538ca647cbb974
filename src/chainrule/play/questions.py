"""What a page asks that takes long: each question is answered once it is computed, and only the
newest of each kind is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.errors import require
from chainrule.play.important import Important
from chainrule.play.reasons import Reasons
from chainrule.play.replaying import Newest, Question
from chainrule.play.slice import OWN, step_shown
from chainrule.play.taught import Taught
from chainrule.play.trainer import Trainer

Later = Callable[[str, Callable[[], None]], Callable[[], None]]
"""Makes a function for other threads: of a name, and of what the session's thread is to do."""


class Questions:
    """A page's questions: who taught a row, why it is predicted so, and which columns matter.

    Args:
        tell: sends a message to the page
        later: makes a function for other threads
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None], later: Later) -> None:
        self._tell, self._later = tell, later
        self._taught, self._reasons, self._important = Newest[Taught](), Newest[Reasons](), Newest[Important]()

    def teachers(self, trainer: Trainer, row: Any) -> None:
        """Find which rows taught a row of the training set; None stops, with what is known."""
        if row is None:
            self._taught.close()
        else:
            self._taught.ask(
                Taught(trainer, whole(row, "row"), self._later("teachers", lambda: self._answer(self._taught)))
            )

    def why(self, trainer: Trainer, row: Any) -> None:
        """Explain the prediction for a row of the training set, or for "shown": the sample that the
        user drew or, without one, the first of the mini-batch. None stops.
        """
        if row is None:
            self._reasons.forget()
            return
        number = _first_shown(trainer) if row == "shown" else whole(row, "row")
        self._reasons.ask(Reasons(trainer, number, self._later("why", lambda: self._answer(self._reasons))))
        self._answer(self._reasons)

    def importance(self, trainer: Trainer, stop: bool) -> None:
        """Measure which columns predictions depend on, or stop."""
        if stop:
            self._important.forget()
            return
        later = self._later("importance", lambda: self._answer(self._important))
        self._important.ask(Important(trainer, later))
        self._answer(self._important)

    def forget(self) -> None:
        """Stop computing: there is another network, or the page is closed."""
        self._taught.forget()
        self._reasons.forget()
        self._important.forget()

    def _answer(self, newest: Newest[Any]) -> None:
        question: Question | None = newest.question
        if question is not None:
            self._tell(question.message())


def whole(value: Any, name: str) -> int:
    """A whole number in a message. Raises SettingError for anything else."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    require(is_whole, f"{name} is {str(value)[:40]!r}; it must be a whole number")
    return int(value)


def _first_shown(trainer: Trainer) -> int | None:
    """The row of the first sample of the mini-batch; None if the user's own is shown."""
    if trainer.own is not None:
        return trainer.own.row
    _, rows, _ = step_shown(trainer)
    return None if rows is OWN else int(rows[0])
