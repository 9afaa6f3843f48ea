"""The part that is the same for all models: shared embedding, DIN, ETA, numbers, concatenated (ESMC section V-A)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import torch
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
        all fields [B, F, …] and events [C · L, …], or where items have a table of their own the other fields
        [B, F - 1, …], items [B, …] and events.
        """
        ids = fill(batch.ids, self.bags)
        events = batch.events.reshape(-1) if self.context is not None else batch.events.new_zeros(0)
        if self.items is None:
            own, of_events = self.table.look_up([ids, events])
            return pool(own, ids == batch.ids, self.bags), of_events
        item = self.item
        assert item is not None
        after = ids[:, item + 1 :] - self.items.rows
        others: Tensor = self.table(torch.cat([ids[:, :item], after], dim=1))
        counted = ids == batch.ids
        bags = [bag.left_by(bag.start > item) for bag in self.bags]
        others = pool(others, torch.cat([counted[:, :item], counted[:, item + 1 :]], dim=1), bags)
        return others, *self.items.look_up([ids[:, item] - self.start, events - self.start])

    def assemble(self, batch: Batch, found: tuple[Tensor, ...]) -> Tensor:
        """[B, width] from what :meth:`look_up` found."""
        fields, *own, events = found
        items = own[0] if own else None if self.item is None else fields[:, self._item_field()]
        parts = [fields.flatten(1), *own]
        if self.context is not None:
            assert items is not None
            blocks, length = batch.events.shape
            dim = items.shape[-1]
            context = self.context.index_select(0, batch.contexts.reshape(-1))
            events = (events + context).view(blocks, length, dim)
            # A slot without a row takes the first one's item: nothing reads what comes of it.
            row = batch.slots.new_zeros(blocks * batch.block_rows)
            row = row.index_copy_(0, batch.slots, torch.arange(len(batch.slots), device=row.device))
            rows = items.index_select(0, row).view(blocks, batch.block_rows, dim)
            for module, recent in ((self.din, self.din_length), (self.eta, self.eta_length)):
                if module is not None:
                    first = max(0, length - recent)
                    interest = module(rows, events[:, first:], batch.mask[:, first:])
                    parts.append(interest.reshape(-1, dim).index_select(0, batch.slots))
        if batch.dense.shape[1]:
            parts.append(batch.dense)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _item_field(self) -> int:
        """Which field the item is: its column, less those that multi-valued fields before it have more than one."""
        assert self.item is not None
        return self.item - sum(bag.stop - bag.start - 1 for bag in self.bags if bag.start < self.item)
