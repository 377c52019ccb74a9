"""Batches by token budget over length-sorted items: no fixed count, little padding, order given back by index."""

from collections.abc import Iterator, Sequence


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group item indices so that longest item × items stays within a budget.

    Items are taken from the longest to the shortest, so the first batch shows at once whether memory suffices.

    Args:
        lengths: Tokens of each item, at least 1.
        budget: Most tokens per batch, padding included; an item longer than that travels alone.

    Yields:
        Indices into `lengths`; every index occurs exactly once.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * longest > budget:
            yield batch
            batch = []
        if not batch:
            longest = lengths[index]
        batch.append(index)
    if batch:
        yield batch
