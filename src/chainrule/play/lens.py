"""Which networks the stage can show one sample of, and how."""

from __future__ import annotations

from chainrule.play.columns import is_chain
from chainrule.play.convolved import ConvolvedScene, parts_of
from chainrule.play.scene import Scene
from chainrule.play.trainer import Trainer


def has_scene(trainer: Trainer) -> bool:
    """Whether a sample can be followed through the network: through a chain of Dense layers, or
    through a small convolution.
    """
    return is_chain(trainer) or parts_of(trainer) is not None


def scene_of(trainer: Trainer, sample: int = 0, unit: str = "", weight: str = "", lines: bool = True) -> Scene:
    """The step that the stage shows, seen from one of its samples; the arguments are those of a
    Scene.
    """
    parts = parts_of(trainer)
    if parts is not None:
        return ConvolvedScene(parts, trainer, sample, unit, weight, lines)
    return Scene(trainer, sample, unit, weight, lines)
