"""Import PyTorch and train a small network for one step."""

import numpy as np
import torch

x = torch.from_numpy(np.random.default_rng(0).normal(size=(32, 30)).astype(np.float32))
y = (x[:, 0] > 0).long()
network = torch.nn.Sequential(
    torch.nn.Linear(30, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)
torch.nn.functional.cross_entropy(network(x), y).backward()
optimizer.step()
