"""What Prometheus reads: how many requests, how long, how full the queue is."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from .engine import Engine

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The service's own registry; the process-wide one may hold anything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)
        self._requests = Counter(
            "ortmill_requests",
            "Requests for embeddings, by HTTP status.",
            ["status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ortmill_request_seconds",
            "From the end of the head of a request to its answer, those with status 200.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def collect(self) -> Iterator[Metric]:
        """Yield what the engine counts by itself."""
        engine, counters = self._engine, self._engine.counters
        yield CounterMetricFamily("ortmill_texts", "Texts embedded.", counters.texts)
        yield CounterMetricFamily("ortmill_tokens", "Tokens read.", counters.tokens)
        yield CounterMetricFamily("ortmill_runs", "Runs of the graph.", counters.runs)
        yield GaugeMetricFamily("ortmill_pending", "Requests not answered.", engine.pending)
        yield GaugeMetricFamily("ortmill_pending_bytes", "Their bytes.", engine.pending_bytes)
        yield GaugeMetricFamily(
            "ortmill_ready", "1 when the model is loaded.", engine.state == "ready"
        )

    def answered(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(str(status)).inc()
        if status == 200:
            self._seconds.observe(seconds)

    def page(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self._registry)
