"""Data sets that may be larger than the memory: read, fitted and prepared block by block.

`TableFiles` and `ArrayFiles` are what stands for a table or an array on disk, `Division` says which
rows are for training, `fit` fits a preparation over blocks, and `StoredSamples` are prepared
samples in the cache, from which a network is trained.
"""
