"""Why a prediction is as it is, and which columns predictions depend on."""

from chainrule.attribution.permutation import Importances, importance
from chainrule.attribution.reasons import Why, why

__all__ = ["Importances", "Why", "importance", "why"]
