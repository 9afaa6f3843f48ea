"""ETA: retrieve from the long history by SimHash, then attend over what was found (Chen et al., 2021).

The hashes of item and events are the signs of random projections; the Hamming distance between two hashes
estimates the angle between the vectors. The k nearest events of each row take part in a target attention.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.seeding import derive
from bench.nn.selection import kth_largest

#: Added to the score of an event that takes no part in a softmax.
NEVER = -1e30


class HashRetrieval(nn.Module):
    """Attention over the k events nearest to the item by Hamming distance.

    Args:
        dim: width of event and item vectors.
        top_k: events kept per row; histories no longer than this need no retrieval.
        bits: bits of a hash.
    """

    projection: Tensor

    def __init__(self, dim: int, top_k: int, bits: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.register_buffer("projection", torch.zeros(dim, bits))
        self.query = nn.Parameter(torch.zeros(dim, dim))
        self.key = nn.Parameter(torch.zeros(dim, dim))
        self.value = nn.Parameter(torch.zeros(dim, dim))

    def reset(self, seed: int) -> None:
        """Gaussian projections, Xavier-uniform query, key and value."""
        self.projection.normal_(generator=torch.Generator().manual_seed(derive(seed, "projection")))
        for name, weight in (("query", self.query), ("key", self.key), ("value", self.value)):
            bound = (3.0 / weight.shape[0]) ** 0.5
            generator = torch.Generator().manual_seed(derive(seed, name))
            weight.data.uniform_(-bound, bound, generator=generator)

    def forward(self, items: Tensor, events: Tensor, mask: Tensor) -> Tensor:
        """Long-term interest of each row.

        Args:
            items: exposed items [C, R, dim].
            events: histories, oldest first [C, L, dim].
            mask: True for events that exist [C, L].

        Returns:
            [C, R, dim]; zero where the history is empty.
        """
        keep = mask.unsqueeze(1) if events.shape[1] <= self.top_k else self.nearest(items, events, mask)
        # (t Q) (e K)ᵀ = t (Q Kᵀ) eᵀ and Σ w (e V) = (Σ w e) V: nothing is multiplied for every event.
        query = _times(items, self.query @ self.key.T * items.shape[-1] ** -0.5)
        scores = torch.bmm(query, events.transpose(1, 2)) + torch.where(keep, 0.0, NEVER)  # [C, R, L]
        found = _times(torch.bmm(scores.softmax(-1), events), self.value)
        return found * mask.any(1)[:, None, None]  # without events the weights are equal, and mean nothing

    @torch.no_grad()
    def nearest(self, items: Tensor, events: Tensor, mask: Tensor) -> Tensor:
        """True for the ``top_k`` existing events nearest to each item [C, R, L]; of equal distance the later."""
        length, bits = events.shape[1], self.projection.shape[1]
        item_bits = _times(items, self.projection).sign_()
        event_bits = _times(events, self.projection).sign_()
        # bits - 2 * Hamming distance lies within ± bits. Times the length, plus the place: distinct whole numbers.
        # Those of events that do not exist are below the least of the others.
        least = -bits * length
        place = torch.where(mask, torch.arange(length, device=events.device), 2 * least - length).unsqueeze(1)
        order = torch.baddbmm(place.to(items.dtype), item_bits, event_bits.transpose(1, 2), alpha=length)
        smallest: Tensor = kth_largest(order, self.top_k).clamp_min(least)
        return order >= smallest


def _times(vectors: Tensor, matrix: Tensor) -> Tensor:
    """[C, N, D] times [D, E] as one product; a batched one would be C of them where cells are trained at once."""
    blocks, length, dim = vectors.shape
    return (vectors.reshape(-1, dim) @ matrix).view(blocks, length, -1)
