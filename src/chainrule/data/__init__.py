"""Reading, splitting and preparing data sets: files, folders, arrays, DataFrames and built-ins."""

from chainrule.arrays import Samples
from chainrule.data.builtin import BUILTIN
from chainrule.data.dataset import Dataset, from_arrays, prepare
from chainrule.data.finding import Data, find, find_samples, plane_set
from chainrule.data.loading import load
from chainrule.data.preparation import Preparation
from chainrule.data.prepared import Prepared
from chainrule.data.source import Sample, Source
from chainrule.data.targets import Target
from chainrule.data.text import Text

__all__ = [
    "BUILTIN",
    "Data",
    "Dataset",
    "Preparation",
    "Prepared",
    "Sample",
    "Samples",
    "Source",
    "Target",
    "Text",
    "find",
    "find_samples",
    "from_arrays",
    "load",
    "plane_set",
    "prepare",
]
