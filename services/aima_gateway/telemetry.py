"""The gateway's metrics, each declared once."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("aima_http_requests_total", "HTTP requests answered", ["operation", "status"])
SECONDS = Histogram(
    "aima_http_request_seconds",
    "Time from a request's head to the end of its answer (streams of events are left out)",
    ["operation"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 60, 600),
)
DELIVERIES = Counter("aima_webhook_deliveries_total", "Attempts to deliver to a webhook", ["outcome"])
