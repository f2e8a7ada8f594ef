"""Figures for Prometheus, in a registry of each app's own."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from dermdistill.serve.schemas import ModelName

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted. No label carries anything of a client or an image.

    Args:
        model: the model that is served.
        images: tells how many images are in work now.
    """

    def __init__(self, model: ModelName, images: Callable[[], int]):
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = Counter(
            "dermdistill_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "dermdistill_request_seconds",
            "Seconds from a request's headers to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge("dermdistill_requests_in_progress", "Requests in progress.", registry=self.registry)
        self.images = Counter("dermdistill_images", "Images answered, by status.", ("status",), registry=self.registry)
        self.batches = Histogram(
            "dermdistill_batch_images", "Images of a forward pass.", buckets=_SIZES, registry=self.registry
        )
        self.refused = Counter("dermdistill_refused", "Requests refused, by reason.", ("code",), registry=self.registry)
        waiting = Gauge("dermdistill_images_in_work", "Images decoded, waiting or judged.", registry=self.registry)
        waiting.set_function(images)
        about = Gauge("dermdistill_model", "The model that is served.", ("name", "sha256"), registry=self.registry)
        about.labels(model.name, model.sha256).set(1)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
