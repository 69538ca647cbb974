"""A file to hand out: the page and a recording of some steps, as one HTML file without a server.

The page computes nothing, so what a session answers is all that it needs. The recording is a graph
of states. In each, the page can ask for a sample, a histogram, a weight or a unit, and gets the
session's own messages; a command such as "step" leads to another state.

The file is the page's own code, with each module as a data: URL in an import map because a browser
loads no modules from disk, and the recording, compressed. Its policy allows no connections.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.play import frames
from chainrule.play.server import CONTENT_TYPES, PAGE, choices
from chainrule.play.session import Session
from chainrule.play.settings import FIRST, Settings
from chainrule.runs import Run

STEPS = (*range(8), 20, 100, 350)
"""The steps that are saved: some in a row, then on to where the first network has learned."""
MOVES = ("step", "back", "phase forward", "phase loss", "phase backward", "phase update")
"""The commands that lead from one state to another."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:;"
    " base-uri 'none'; form-action 'none'"
)

Moment = tuple[int, tuple[str, ...]]
"""A step, and the phases of it that were gone through."""
Key = tuple[int, str, int]
"""What tells states apart: step, phase, and the layer that backward has reached."""


def saved_page(
    settings: Settings = FIRST,
    steps: Sequence[int] = STEPS,
    dataset: Dataset | None = None,
    run: Run | None = None,
    samples: int | None = None,
) -> str:
    """The page with a recording of these steps, as HTML.

    Args:
        settings: the network, its data and how it is trained
        steps: the numbers of the steps, ascending from 0
        dataset: what the run was trained on
        run: a recorded run whose steps these are, in place of a training by the settings
        samples: how many samples of each mini-batch are saved, the first ones; by default all

    Raises:
        ChainruleError: if the session answers with an error, such as for a loss that is not finite
    """
    recorder = Recorder(settings, steps, dataset, run, samples)
    content = gzip.compress(frames.pack(*recorder.recording()), mtime=0)
    return with_code(f'<script type="text/plain" id="saved">{base64.b64encode(content).decode()}</script>')


class Recorder:
    """Asks a session everything that a page can ask about some steps, and keeps its messages.

    The arguments are those of `saved_page`.
    """

    def __init__(
        self,
        settings: Settings,
        steps: Sequence[int],
        dataset: Dataset | None = None,
        run: Run | None = None,
        samples: int | None = None,
    ) -> None:
        self._settings, self._steps = settings, list(steps)
        self._dataset, self._run = dataset, run
        size = settings.batch_size if run is None else min(run.trained.plan.batch_size, run.data["rows"]["training"])
        self._count = size if samples is None else min(samples, size)
        self._sent: list[bytes] = []
        self._messages: dict[bytes, int] = {}
        self._headers: list[dict[str, Any]] = []
        self._opened: dict[tuple[int, bool], dict[str, list[list[int]]]] = {}
        self._session = Session(self._sent.append, dataset, run, threaded=False)
        self._built = self._ask({"type": "settings", "settings": settings.as_json(), "run": run is not None})[0]

    def recording(self) -> frames.Message:
        """The recording as one message: the states, and the bytes of the messages they name."""
        moments = {self._go(moment): moment for step in self._steps for moment in self._moments(step)}
        numbers = {key: number for number, key in enumerate(moments)}
        states = []
        for (step, phases), key in zip(moments.values(), moments, strict=True):
            after = {move: numbers.get(self._after((step, phases), move)) for move in MOVES}
            # Where the step before or after is not saved, the nearest one that is.
            for move, near in (("back", self._steps.index(step) - 1), ("step", self._steps.index(step) + 1)):
                if after[move] is None and 0 <= near < len(self._steps):
                    after[move] = numbers[self._steps[near], "weights", -1]
            state = {"step": key[0], "phase": key[1], "after": {**after, "reset": 0}}
            states.append({**state, **self._answers((step, phases))})
        contents, places = self._contents()
        header = {
            "choices": {**choices(self._dataset, self._run), "first": self._settings.as_json(), "surface": False},
            "steps": self._steps, "built": self._built, "states": states, "places": places,
        }  # fmt: skip
        return header, {"messages": np.frombuffer(contents, dtype=np.uint8)}

    def _contents(self) -> tuple[bytes, list[tuple[int, int]]]:
        """The bytes of all messages, alike beside alike so that they compress well; the start and
        end of each message in them.
        """
        names = ("type", "weight", "unit", "sample", "step")
        order = [([str(header.get(name, "")) for name in names], k) for k, header in enumerate(self._headers)]
        contents, places, at = list(self._messages), [(0, 0)] * len(order), 0
        for _, k in sorted(order):
            places[k] = at, at + len(contents[k])
            at = places[k][1]
        return b"".join(contents[k] for _, k in sorted(order)), places

    # Moments

    def _go(self, moment: Moment) -> Key:
        """Bring the training to a moment."""
        trainer, (step, phases) = self._session.trainer, moment
        trainer.go_to(min(step, trainer.step))
        trainer.advance(step - trainer.step)
        for phase in phases:
            trainer.next_phase(phase)
        return trainer.step, trainer.phase, trainer.backward_to

    def _moments(self, step: int) -> list[Moment]:
        """The moments of a step: before it, and after each phase, backward layer by layer."""
        phases = ["forward", "loss", "backward"]
        while self._go((step, tuple(phases)))[2] > 0:
            phases.append("backward")
        phases.append("update")
        return [(step, tuple(phases[:count])) for count in range(len(phases) + 1)]

    def _after(self, moment: Moment, move: str) -> Key:
        """Where a command leads to."""
        self._go(moment)
        kind, _, phase = move.partition(" ")
        self._session.obey({"type": kind, "phase": phase})
        trainer = self._session.trainer
        return trainer.step, trainer.phase, trainer.backward_to

    # Messages

    def _answers(self, moment: Moment) -> dict[str, Any]:
        """The numbers of the messages for everything that can be asked at a moment."""
        self._go(moment)
        layers, count = self._session.trainer.layers, self._count
        samples, histograms = [], {}
        for k in range(max(count, len(layers))):  # a sample changes the scene, a histogram the frame
            sample, layer = min(k, count - 1), layers[min(k, len(layers) - 1)]
            numbers = self._ask({"type": "view", "view": {"sample": sample, "histogram": layer, "lens": "plane"}})
            histograms[layer] = [number for number in numbers if self._headers[number]["type"] == "frame"]
            if k < count:
                samples.append([number for number in numbers if number not in histograms[layer]])
        return {"samples": samples, "histograms": histograms, "opened": self._openings(moment)}

    def _openings(self, moment: Moment) -> dict[str, list[list[int]]]:
        """The messages about every weight and every unit, for each sample; only the update changes
        them.
        """
        place = moment[0], "update" in moment[1]
        if place not in self._opened:
            parameters = self._session.trainer.plan.network.parameters
            weights = [parameters.name_of(k) for k in range(parameters.size)]
            layers = self._headers[self._built]["layers"]
            units = [(layer["name"], k) for layer in layers for k in range(layer["units"])]
            opened: dict[str, list[list[int]]] = {}
            for sample in range(self._count):
                self._ask({"type": "open"})  # nothing
                self._ask({"type": "view", "view": {"sample": sample}})
                for name in weights:
                    opened.setdefault(name, []).append(self._ask({"type": "open", "weight": name}))
                for layer, k in units:
                    answers = self._ask({"type": "open", "layer": layer, "unit": k})
                    opened.setdefault(f"{layer}[{k}]", []).append(answers)
            self._ask({"type": "open"})
            self._opened[place] = opened
        return self._opened[place]

    def _ask(self, command: Mapping[str, Any]) -> list[int]:
        """The numbers of the messages that answer a command."""
        self._sent.clear()
        self._session.obey(command)
        self._session.show()
        for content in self._sent:
            header = header_of(content)
            if header["type"] == "error":
                raise ChainruleError(header["message"])
            if content not in self._messages:
                self._messages[content] = len(self._messages)
                self._headers.append(header)
        return [self._messages[content] for content in self._sent]


def header_of(message: bytes) -> dict[str, Any]:
    """The header of a message to the page."""
    header: dict[str, Any] = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
    return header


# The page's code


def with_code(recording: str) -> str:
    """The page as one file: its styles, icon and modules inside it, and the recording."""
    html = (PAGE / "index.html").read_text()
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    html = html.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{policy}')
    html = re.sub(r'<link rel="stylesheet" href="([\w.-]+)">', lambda link: f"<style>\n{_text(link[1])}</style>", html)
    html = re.sub(r'href="([\w.-]+\.svg)"', lambda link: f'href="{_url(link[1], _text(link[1]))}"', html)
    start = re.compile(r'<script type="module" src="([\w.-]+)"></script>')
    return start.sub(lambda script: f"{recording}\n{_modules(script[1])}", html)


def _modules(first: str) -> str:
    """The page's modules by bare names, as nothing is relative to a data: URL, and the entry."""
    code = {path.name: path.read_text() for path in PAGE.glob("*.js")}
    relative = re.compile(r'"\./([\w.-]+\.js)"')
    urls = {name: _url(name, relative.sub(r'"\1"', text)) for name, text in code.items()}
    return (
        f'<script type="importmap">{json.dumps({"imports": urls})}</script>\n'
        f'<script type="module">import "{first}";</script>'
    )


def _text(name: str) -> str:
    return (PAGE / name).read_text()


def _url(name: str, text: str) -> str:
    """A data: URL with the content of one of the page's files."""
    kind = CONTENT_TYPES[name[name.rindex(".") :]]
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
