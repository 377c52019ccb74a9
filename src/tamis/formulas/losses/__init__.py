"""What the student minimises: each loss compares its scores of the documents of a query with the teacher's soft labels.

A batch holds the (query, document) pairs of several queries, flat. `list_index` says which pairs belong together; its
values need not be sorted or without gaps. Everything is computed in float32, whatever precision the model runs in. No
loss depends on the order of the batch, ties in logits or labels included.

All but the hinge are means over the lists of the batch: a query weighs the same however many documents it has, and one
that has nothing to say (a single document, labels all equal) counts as 0 and not as absent.
"""
