"""The live page: a network learns, step by step, and every number says where it comes from."""
