"""Fixup ResNets (no batch norm), the paper's networks: weights can be averaged without repairing any statistics.

`transferscope.models.fixup_resnet:fixup_resnet50` is a network reference. Zhang, Dauphin, Ma 2019, "Fixup
Initialization": scalar biases and scales instead of norms, the last convolution of each branch starts at zero, the
others are scaled by L^(-1/(2m-2)) for L branches of m layers (m = 3 here). As in Neyshabur et al. 2020 the head does
not start at zero.
"""

import torch
from torch import Tensor, nn


class Shift(nn.Module):
    """Adds one trained scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions (the 3x3 with the stride) around a shortcut: six scalar biases, one scale."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.bias1a, self.bias1b = Shift(), Shift()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bias2a, self.bias2b = Shift(), Shift()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bias3a, self.bias3b = Shift(), Shift()
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.scale = nn.Parameter(torch.ones(1))
        matching = stride == 1 and inputs == outputs
        self.downsample = None if matching else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shifted = self.bias1a(x)
        y = torch.relu(self.bias1b(self.conv1(shifted)))
        y = torch.relu(self.bias2b(self.conv2(self.bias2a(y))))
        y = self.bias3b(self.conv3(self.bias3a(y)) * self.scale)
        return torch.relu(y + (x if self.downsample is None else self.downsample(shifted)))


class Head(nn.Linear):
    """A linear layer with a scalar bias on its input, so that the head is one block, `fc`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.input_bias = nn.Parameter(torch.zeros(1))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + self.input_bias)


class FixupResNet(nn.Module):
    """Stem, four stages of bottlenecks, pooled head; inputs are N x 3 x H x W, outputs N x `num_classes`."""

    def __init__(self, depths: tuple[int, int, int, int], num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bias1 = Shift()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for stage, depth in enumerate(depths):
            made = []
            for index in range(depth):
                made.append(Bottleneck(inputs, width << stage, 2 if stage and not index else 1))
                inputs = (width << stage) * Bottleneck.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.fc = Head(inputs, num_classes)
        self._fixup(sum(depths))

    @torch.no_grad()
    def _fixup(self, branches: int) -> None:
        def normal(conv: nn.Conv2d, factor: float = 1.0) -> None:
            fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
            conv.weight.normal_(0.0, factor * (2.0 / fan_out) ** 0.5)

        normal(self.conv1)
        for block in self.modules():
            if isinstance(block, Bottleneck):
                normal(block.conv1, branches**-0.25)
                normal(block.conv2, branches**-0.25)
                block.conv3.weight.zero_()
                if block.downsample is not None:
                    normal(block.downsample)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bias1(self.conv1(x))))
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def fixup_resnet50(num_classes: int) -> FixupResNet:
    """The paper's network: conv1, 16 residual blocks, fc."""
    return FixupResNet((3, 4, 6, 3), num_classes)


def fixup_resnet26(num_classes: int) -> FixupResNet:
    """Two residual blocks per stage."""
    return FixupResNet((2, 2, 2, 2), num_classes)


def fixup_resnet14(num_classes: int) -> FixupResNet:
    """One residual block per stage, a quarter of the width: for small images and tests."""
    return FixupResNet((1, 1, 1, 1), num_classes, width=16)
