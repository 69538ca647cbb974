"""A network, its loss and its optimizer as the native engine takes them: a list of operations on numbered values.

Each layer, loss and stage that has a kernel is lowered by an entry in a table here, which must know its very type: what
derives from it may mean something else. A layer without a kernel becomes a call of its own definition; a loss or a
stage without one raises NoKernel, and the engine finds another way.
"""

from chainrule.engine.lowering.descent import LoweredStage, is_table, lower_descent, native_schedule
from chainrule.engine.lowering.loss import lower_loss
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.network import Lowering

__all__ = ["LoweredStage", "Lowering", "NoKernel", "is_table", "lower_descent", "lower_loss", "native_schedule"]
