"""What a daemon serves at /metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU = "process_cpu_seconds_total"
PASSES = "valkeeper_passes_total"
LISTS = "valkeeper_kubernetes_lists"


@dataclass(frozen=True)
class Metrics:
    """Values by their series, `name` or `name{label="value"}` summed up under the name alone as well."""

    values: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """From the exposition format."""
        values: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
                for label, value in sample.labels.items():
                    key = f"{sample.name}:{label}={value}"
                    values[key] = values.get(key, 0.0) + sample.value
        return cls(values)

    def get(self, name: str) -> float:
        """The sum over all series of the name, or of `name:label=value`; 0 when there is none."""
        return self.values.get(name, 0.0)
