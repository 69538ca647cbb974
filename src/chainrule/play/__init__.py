"""The live page: watch a network learn step by step, with the origin of every number."""
