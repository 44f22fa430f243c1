"""No probe's test takes more than one core."""

import torch

torch.set_num_threads(1)
