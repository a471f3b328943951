"""An experiment's options: from a YAML file to checked, typed values and from type nodes to objects."""

from twostagealign.options.load import dump_options, load_options
from twostagealign.options.registry import DATASETS, build
from twostagealign.options.schema import Node, TrainOptions

__all__ = [
    "DATASETS",
    "Node",
    "TrainOptions",
    "build",
    "dump_options",
    "load_options",
]
