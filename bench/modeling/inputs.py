"""The part that is the same for all models: shared embedding, DIN, ETA, numbers, concatenated (ESMC section V-A)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.config import Config
from bench.core.seeding import derive
from bench.data.batches import CONTEXTS, Batch
from bench.data.encoded import EncodedCity
from bench.data.numbers import chosen
from bench.nn.embedding import Bag, EmbeddingTable, fill, pool
from bench.nn.interest import InterestAttention
from bench.nn.retrieval import HashRetrieval

T = TypeVar("T")


class InputShape(NamedTuple):
    """What a model must know of the data: rows of the embedding table, fields, and which column of ids is the item.

    ``item`` is None where no field is: such data has no events, and DIN and ETA are left out. ``items`` are the
    [start, stop) rows of the table that the item has; ``dense``: normalised numbers of a row; ``sizes``: ids per field;
    ``ordered``: whether they are bins of a number; ``widths``: columns of ids per field (none given: one each).
    """

    vocabulary: int
    fields: int
    item: int | None
    items: tuple[int, int] = (0, 0)
    dense: int = 0
    sizes: tuple[int, ...] = ()
    ordered: tuple[bool, ...] = ()
    widths: tuple[int, ...] = ()

    @classmethod
    def of(cls, city: EncodedCity, config: Config = Config()) -> InputShape:
        fields = {field.name: field for field in city.meta.fields}
        numbers = chosen(city.meta, config.numeric_top)
        bins = [field.bins for field in numbers] if config.numeric == "bins" else []
        item = fields.get("item")
        widths = [field.width for field in fields.values()]
        return cls(
            city.meta.vocabulary + sum(bins),
            len(fields) + len(bins),
            None if item is None else sum(widths[: list(fields).index("item")]),
            (0, 0) if item is None else (item.offset, item.offset + item.size),
            0 if bins else len(numbers),
            (*(field.size for field in fields.values()), *bins),
            (*(field.ordered for field in fields.values()), *(True for _ in bins)),
            (*widths, *(1 for _ in bins)),
        )

    def by_column(self, values: Iterable[T]) -> list[T]:
        """What is given for each field, for each column of ids."""
        widths = self.widths or (1,) * self.fields
        return [value for value, width in zip(values, widths, strict=True) for _ in range(width)]

    def first_rows(self) -> list[int]:
        """The first row of the table of each field: unknown or missing."""
        return [0, *itertools.accumulate(self.sizes)][:-1]

    def bags(self) -> list[Bag]:
        """The multi-valued fields."""
        starts = [0, *itertools.accumulate(self.widths)][:-1]
        places = zip(starts, self.widths, self.first_rows() if self.widths else (), strict=True)
        return [Bag(start, start + width, missing) for start, width, missing in places if width > 1]


class FunnelInputs(nn.Module):
    """Batch → one vector per row: field embeddings, recent interest (DIN), long-term interest (ETA), numbers.

    An event's vector is its item's embedding plus an embedding of its context (action, domain, age). Where the
    item's embedding has a width of its own (``item_dim``), it lies in a table of its own. A multi-valued field is the
    mean of the embeddings of its known values, repeated ones as often as they are there; without any it is the
    embedding of unknown, as of other fields.
    """

    def __init__(self, config: Config, shape: InputShape) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.item, self.bags = shape.item, shape.bags()
        item_dim = dim if shape.item is None else config.item_dim or dim
        self.start, stop = shape.items if item_dim != dim else (0, 0)
        self.din_length, self.eta_length = (0, 0) if shape.item is None else (config.din_length, config.eta_length)
        self.table = EmbeddingTable(shape.vocabulary - (stop - self.start), dim, config.embedding_std)
        self.items = EmbeddingTable(stop - self.start, item_dim, config.embedding_std) if item_dim != dim else None
        self.din = InterestAttention(item_dim, config.attention_hidden) if self.din_length else None
        self.eta = HashRetrieval(item_dim, config.eta_top_k, config.eta_bits) if self.eta_length else None
        histories = (self.din is not None) + (self.eta is not None)
        self.context = nn.Parameter(torch.zeros(CONTEXTS, item_dim)) if histories else None
        has_item = shape.item is not None
        self.width = dim * (shape.fields - has_item) + item_dim * (has_item + histories) + shape.dense

    def reset(self, seed: int) -> None:
        self.table.reset(torch.Generator().manual_seed(derive(seed, "table")))
        if self.items is not None:
            self.items.reset(torch.Generator().manual_seed(derive(seed, "items")))
        if self.context is not None:
            generator = torch.Generator().manual_seed(derive(seed, "context"))
            self.context.data.normal_(0.0, self.table.std, generator=generator)
        for name, module in (("din", self.din), ("eta", self.eta)):
            if module is not None:
                module.reset(derive(seed, name))

    def forward(self, batch: Batch) -> Tensor:
        """[B, width]."""
        return self.assemble(batch, self.look_up(batch))

    def look_up(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the tables have for a batch, each table looked up once, with vectors of its width in the last dimension:
        all fields [B, F, …], or where items have a table of their own the others [B, F - 1, …]; then, where they are
        needed, items [B, …] and events [E, …].
        """
        ids = fill(batch.ids, self.bags)
        counted = ids == batch.ids if self.bags else ids
        item, items = self.item, self.items
        if item is None or (items is None and self.context is None):
            return (pool(self.table(ids), counted, self.bags),)
        events = _flat([own.events for own in batch.histories]) if self.context is not None else ids.new_zeros(0)
        if items is None:
            fields, *found = self.table.look_up([ids, ids[:, item], events])
            return pool(fields, counted, self.bags), *found
        after = ids[:, item + 1 :] - items.rows
        others: Tensor = self.table(torch.cat([ids[:, :item], after], dim=1))
        bags = [bag.left_by(bag.start > item) for bag in self.bags]
        others = pool(others, torch.cat([counted[:, :item], counted[:, item + 1 :]], dim=1), bags)
        return others, *items.look_up([ids[:, item] - self.start, events - self.start])

    def assemble(self, batch: Batch, found: tuple[Tensor, ...]) -> Tensor:
        """[B, width] from what :meth:`look_up` found."""
        fields, *past = found
        parts = [fields.flatten(1), *past[: self.items is not None]]
        if self.context is not None:
            parts += [
                interest.reshape(-1, interest.shape[-1]).index_select(0, batch.slots)
                for interest in self._interests(batch, *past)
            ]
        if batch.dense.shape[1]:
            parts.append(batch.dense)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _interests(self, batch: Batch, items: Tensor, events: Tensor) -> list[Tensor]:
        """What DIN and ETA find for every place of the blocks, each [C, R, dim].

        Args:
            items: of the rows [B, dim].
            events: of all histories, one after the other [E, dim].
        """
        assert self.context is not None
        dim, masks = items.shape[-1], [own.mask for own in batch.histories]
        counts = [len(mask) for mask in masks]
        vectors = events + self.context.index_select(0, _flat([own.contexts for own in batch.histories]))
        histories = [
            part.view(*mask.shape, dim)
            for part, mask in zip(torch.split(vectors, [mask.numel() for mask in masks]), masks, strict=True)
        ]
        # A slot without a row takes the first one's item: nothing reads what comes of it.
        row = batch.slots.new_zeros(sum(counts) * batch.block_rows)
        row = row.index_copy_(0, batch.slots, torch.arange(len(batch.slots), device=row.device))
        rows = items.index_select(0, row).view(sum(counts), batch.block_rows, dim)
        found = []
        if self.din is not None:
            recent = [_last(self.din_length, *own) for own in zip(histories, masks, strict=True)]
            found.append(self.din(rows, *(_joined(parts) for parts in zip(*recent, strict=True))))
        if self.eta is not None:
            every = zip(torch.split(rows, counts), histories, masks, strict=True)
            found.append(torch.cat([self.eta(own, *_last(self.eta_length, *past)) for own, *past in every]))
        return found


def _flat(parts: Sequence[Tensor]) -> Tensor:
    """All values one after the other."""
    return torch.cat([part.reshape(-1) for part in parts]) if len(parts) > 1 else parts[0].reshape(-1)


def _last(count: int, events: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The last so many places of histories [C, L, dim] and of their mask [C, L]."""
    first = max(0, events.shape[1] - count)
    return events[:, first:], mask[:, first:]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Histories, or their masks, of all blocks [C, L, …]: those shorter than the longest begin with empty places."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.shape[1] for part in parts)
    behind = [(0, 0) * (part.dim() - 2) + (longest - part.shape[1], 0) for part in parts]
    return torch.cat([F.pad(part, pad) if any(pad) else part for part, pad in zip(parts, behind, strict=True)])
