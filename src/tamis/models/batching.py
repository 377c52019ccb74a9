"""Batches by token budget over length-sorted items: no fixed count, little padding, order given back by index."""

from collections.abc import Iterator, Sequence


def token_batches(
    lengths: Sequence[int], budget: int, padded: bool = True, most: int | None = None
) -> Iterator[list[int]]:
    """Group item indices so that longest item × items, or the sum of their lengths, stays within a budget.

    Items are taken from the longest to the shortest, so the first batch shows at once whether memory suffices.

    Args:
        lengths: Tokens of each item, at least 1.
        budget: Most tokens per batch; an item longer than that travels alone.
        padded: Whether items are padded to the longest of their batch, and padding counts.
        most: Most items per batch; None for as many as the budget holds.

    Yields:
        Indices into `lengths`; every index occurs exactly once.
    """
    batch: list[int] = []
    tokens = longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (tokens + (longest if padded else lengths[index]) > budget or len(batch) == most):
            yield batch
            batch = []
        if not batch:
            tokens, longest = 0, lengths[index]
        batch.append(index)
        tokens += longest if padded else lengths[index]
    if batch:
        yield batch
