"""Two networks side by side in a notebook's worth of lines; nothing is downloaded. About 10 s on one core.

Two ResNet-18 of different random initial values look at the same 256 made-up images. Expect CKA from 0.95 (conv1: even
random layers see the coarse structure of images alike) to 0.56 (fc), errors that agree no more than chance (kappa
-0.06), bodies 124 apart, and leading directions that overlap no more than random ones. With networks of your own (two
fine-tuned copies, a network and its start) these become the answers you came for.
"""

import timm
import torch

import transferscope as ts

torch.manual_seed(0)
images, labels = torch.randn(256, 3, 64, 64).cumsum(2).cumsum(3) / 40, torch.randint(10, (256,))
batches = list(zip(images.split(64), labels.split(64), strict=True))
a, b = (timm.create_model("resnet18", num_classes=10) for _ in range(2))

print(ts.similarity(a, b, batches).table())  # .chart() is an altair chart, .save("cka.safetensors") keeps it
print(ts.mistakes(ts.predictions(a, batches), ts.predictions(b, batches)).table().head(1))
print(ts.distance(a, b).table())
print(ts.spectrum(a, b).table())
