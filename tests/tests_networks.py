"""A network small enough to train in a test, with what freezing has to get right: BatchNorm, a
residual branch and dropout. And a transformer whose attention does nothing before it is trained."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


class Small(nn.Module):
    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.blocks(torch.relu(self.stem(x))).mean((2, 3))
        return self.head(self.dropout(features))


class Attention(nn.Module):
    """A residual branch that starts at zero (ReZero, Bachlechner et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.share * self.attention(tokens, tokens, tokens, need_weights=False)[0]


class ReZero(nn.Module):
    """Units `patches`, two of attention, and `mix`, in which tokens do not see each other."""

    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.blocks = nn.Sequential(Attention(width), Attention(width))
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(torch.tanh(self.mix(tokens)).mean(1))
