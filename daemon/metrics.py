"""The daemon's own metrics; server.py serves them on every replica."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

PASSES = Counter("valkeeper_passes_total", "Passes over clusters, by the step they took.", ["step"])
STEP_FAILURES = Counter("valkeeper_step_failures_total", "Steps that failed.", ["step"])
PASS_SECONDS = Histogram(
    "valkeeper_pass_seconds",
    "Time of a whole pass, updates included.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
UPDATE_SECONDS = Histogram(
    "valkeeper_pulumi_update_seconds",
    "Time of a Pulumi update.",
    ["operation", "outcome"],
    buckets=(0.5, 1, 2, 3, 5, 10, 20, 60, 300),
)
CLUSTERS = Gauge("valkeeper_clusters", "ValkeyClusters that are watched.")
QUEUE_DEPTH = Gauge("valkeeper_queue_depth", "Clusters that wait for a pass.")
LEADER = Gauge("valkeeper_leader", "1 on the daemon that writes.")
WATCH_LISTS = Gauge("valkeeper_kubernetes_lists", "LIST requests made by the list-watches.")
WATCH_STALE = Gauge("valkeeper_kubernetes_stale_watches", "List-watches that do not show the present.")
