"""No test of networks touches the net, and none takes more than one core."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch

torch.set_num_threads(1)
