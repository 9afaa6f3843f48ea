"""DIN: attention of the exposed item over the recent history (Zhou et al., KDD 2018, Eq. 3).

Rows of one visit share their history. They come as blocks: C blocks of up to R rows, each with one history of
L events. The attention unit's first layer over (event, item, event ⊙ item) is split by what it depends on: the item
part is computed once per row, the others are one product of a block's events with a matrix for each of its rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.seeding import derive


class InterestAttention(nn.Module):
    """Weighted sum of event vectors; the weights come from a small MLP and are not normalised, as in DIN.

    Args:
        dim: width of event and item vectors.
        hidden: hidden units of the attention unit.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.event = nn.Parameter(torch.zeros(dim, hidden))
        self.item = nn.Parameter(torch.zeros(dim, hidden))
        self.product = nn.Parameter(torch.zeros(dim, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.output = nn.Parameter(torch.zeros(hidden))
        self.output_bias = nn.Parameter(torch.zeros(()))

    def reset(self, seed: int) -> None:
        """Uniform weights as of one linear layer over the three parts; biases zero."""
        for name, weight in (("event", self.event), ("item", self.item), ("product", self.product)):
            generator = torch.Generator().manual_seed(derive(seed, name))
            bound = (6.0 / (3 * weight.shape[0])) ** 0.5
            weight.data.uniform_(-bound, bound, generator=generator)
        generator = torch.Generator().manual_seed(derive(seed, "output"))
        bound = (1.0 / self.output.shape[0]) ** 0.5
        self.output.data.uniform_(-bound, bound, generator=generator)
        self.bias.data.zero_()
        self.output_bias.data.zero_()

    def forward(self, items: Tensor, events: Tensor, mask: Tensor) -> Tensor:
        """Interest of each row.

        Args:
            items: exposed items [C, R, dim].
            events: histories [C, L, dim].
            mask: True for events that exist [C, L].

        Returns:
            [C, R, dim]; zero where the history is empty.
        """
        blocks, rows, dim = items.shape
        hidden = self.event.shape[1]
        # e E + (e ⊙ t) P = e (E + diag(t) P): one product per block, [L, D] x [D, R H]. Row d of every right side is
        # t_d P_d + E_d: a product [C R, 2] x [2, H] for each d.
        flat = items.reshape(-1, dim)
        pairs = torch.stack([flat.T, flat.new_ones(dim, blocks * rows)], dim=-1)
        right = torch.bmm(pairs, torch.stack([self.product, self.event], dim=1))  # [D, C R, H]
        right = right.view(dim, blocks, rows * hidden).transpose(0, 1).contiguous()
        per_item = torch.addmm(self.bias, flat, self.item).view(blocks, 1, rows * hidden)
        unit = F.leaky_relu_(torch.baddbmm(per_item, events, right)).view(-1, hidden)
        weights = (unit @ self.output + self.output_bias).view(blocks, -1, rows) * mask.unsqueeze(-1)  # [C, L, R]
        return torch.bmm(weights.transpose(1, 2), events)
