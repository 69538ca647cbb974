"""Train a classifier of digits with PyTorch as `chainrule train` does: whole_torch.py DATA"""

import sys

import torch
from digits import split

EPOCHS = 60

torch.manual_seed(0)
x, test_x, y, test_y = (torch.from_numpy(array) for array in split(sys.argv[1]))
network = torch.nn.Sequential(
    torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
)
optimizer = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=0.3, fused=True)
steps = -(-len(x) // 32)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100 * steps)
for _ in range(EPOCHS):
    for rows in torch.randperm(len(x)).split(32):
        loss = torch.nn.functional.cross_entropy(network(x[rows]), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
with torch.no_grad():
    print(f"test accuracy {100 * (network(test_x).argmax(1) == test_y).float().mean():.1f} %")
