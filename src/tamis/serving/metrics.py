"""The metrics that Prometheus reads."""

from collections.abc import Callable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from tamis.serving.engine import HEAD, Batch

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("tamis_requests", "Requests answered", "dialect", "model", "status")
        self.abandoned = self._counter("tamis_abandoned_requests", "Requests whose client left", "dialect")
        self.seconds = Histogram(
            "tamis_request_seconds", "Time to an answer", ["dialect"], buckets=SECONDS, registry=self.registry
        )
        self.waited = Histogram(
            "tamis_queue_seconds", "Time to a request's first batch", ["model"], buckets=SECONDS, registry=self.registry
        )
        self.cut = self._counter("tamis_cut_documents", "Documents that did not fit", "model")
        self.pairs = self._counter("tamis_pairs", "Pairs scored", "model")
        self.tokens = self._counter("tamis_tokens", "Tokens scored, without padding", "model")
        self.busy = self._counter("tamis_busy_seconds", "Seconds in the model", "model")
        self.ranked_requests = self._counter(
            "tamis_ranked_requests", f"Requests of one query and more than {HEAD} documents", "model"
        )
        self.first_in_head = self._counter(
            "tamis_first_given_in_best_three",
            "Requests of these whose first document the model alone ranks among its best three",
            "model",
        )
        self.first_in_head_by_chance = self._counter(
            "tamis_first_given_in_best_three_by_chance", "How many it were if documents came in random order", "model"
        )
        # A counter may not fall: 0 stands for the opposite order, one half for any, 1 for the same.
        self.order_agreement = self._counter(
            "tamis_given_order_agreement", "Sum over these of (1 + rank correlation of order and model) / 2", "model"
        )
        self.failures = self._counter("tamis_failed_batches", "Batches on which the model raised", "model")
        self.batch_pairs = Histogram(
            "tamis_batch_pairs", "Pairs of a batch", ["model"], buckets=PAIRS, registry=self.registry
        )
        self.waiting = Gauge("tamis_waiting_pairs", "Pairs admitted, not answered", ["model"], registry=self.registry)
        self.versions = Gauge(
            "tamis_model", "1 for the version that answers", ["model", "version"], registry=self.registry
        )
        self.changes = self._counter("tamis_model_changes", "Models loaded, swapped, removed", "change", "outcome")
        self.split = self._counter("tamis_split_requests", "Requests by split and the model drawn", "split", "model")
        self.unlogged = self._counter("tamis_unlogged_requests", "Requests that the log of queries could not hold")

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def watch(self, model: str, version: str, waiting: Callable[[], float]) -> None:
        """Tell which version of a model answers, and how many pairs wait at it."""
        self.versions.labels(model, version).set(1)
        self.waiting.labels(model).set_function(waiting)

    def forget(self, model: str, version: str, gone: bool) -> None:
        """Tell a version no more, and nothing of a model that is gone; what was counted stays."""
        with suppress(KeyError):
            self.versions.remove(model, version)
            if gone:
                self.waiting.remove(model)

    def batch(self, model: str, batch: Batch) -> None:
        """Count a batch of a model."""
        self.pairs.labels(model).inc(batch.pairs)
        self.tokens.labels(model).inc(batch.tokens)
        self.busy.labels(model).inc(batch.seconds)
        self.batch_pairs.labels(model).observe(batch.pairs)
        self.failures.labels(model).inc(batch.failed)

    def ranked(self, model: str, documents: int, leading: bool, correlation: float) -> None:
        """Count a request that was ranked, and what the model alone says of the order in which its documents came.

        Args:
            model: Its name.
            documents: Number of documents of the request.
            leading: Whether the first one is among the best.
            correlation: Rank correlation of the model with the order, in [-1, 1].
        """
        if documents > HEAD:
            self.ranked_requests.labels(model).inc()
            self.first_in_head.labels(model).inc(leading)
            self.first_in_head_by_chance.labels(model).inc(HEAD / documents)
            self.order_agreement.labels(model).inc((1 + correlation) / 2)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)
