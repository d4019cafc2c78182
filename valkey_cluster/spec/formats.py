r"""The kinds of text and quantity that fields are made of: pattern, bounds, and how to say them to a person.

Patterns are valid in both RE2 (API server) and Rust's regex (pydantic): no look-around, no \d.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from valkey_cluster.quantity import exact
from valkey_cluster.spec.rule import Rule, Rules, validations

_LABEL = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DNS = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

VERSION = "^(0|[1-9][0-9]{0,2})[.](0|[1-9][0-9]{0,2})[.](0|[1-9][0-9]{0,2})$"
REPOSITORY = "^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?[a-z0-9]+(([.]|_|__|-+|/)[a-z0-9]+)*$"
IMAGE_TAG = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
IMAGE_DIGEST = "^sha256:[a-f0-9]{64}$"
IMAGE = "^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"
DNS_LABEL = f"^{_DNS}$"
DNS_NAME = f"^{_DNS}([.]{_DNS})*$"
LABEL_KEY = f"^({_DNS}([.]{_DNS})*/)?{_LABEL}$"
LABEL_VALUE = f"^({_LABEL})?$"
SAVE = "^[1-9][0-9]{0,7} [1-9][0-9]{0,8}$"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
ARGUMENTS = r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
WORD = r"^[^\x00-\x20\x7f]+$"
DURATION = "^([0-9]{1,6}[hms]){1,3}$"
CRON = r"^[^\x00-\x20\x7f]+( +[^\x00-\x20\x7f]+){4}$"
TIME_ZONE = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
KEY_IN_SECRET = "^[A-Za-z0-9._-]+$"  # noqa: S105  a pattern for the name of a key
MEMORY = "^[0-9]{1,18}([.][0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$"
CPU = "^([0-9]{1,9}m|[0-9]{1,6}([.][0-9]{1,3})?)$"

SAID = {
    VERSION: "a Valkey version such as 9.1.2",
    REPOSITORY: "an image repository without tag, such as docker.io/valkey/valkey",
    IMAGE_TAG: "an image tag such as 9.1.2",
    IMAGE_DIGEST: "a digest such as sha256: and 64 lower-case hexadecimal digits",
    IMAGE: "an image such as quay.io/team/exporter:1.2",
    DNS_NAME: "a Kubernetes name: lower-case letters, digits, '-' and '.'",
    LABEL_VALUE: "a label value: at most 63 letters, digits, '-', '_' and '.'",
    SAVE: "'<seconds> <changes>' such as '3600 1'",
    PRINTABLE: "one line without control characters",
    ARGUMENTS: 'a directive\'s arguments on one line, not empty (an empty argument is "")',
    WORD: "one word without spaces",
    DURATION: "a duration such as 2160h or 1h30m",
    CRON: "a cron schedule of five fields such as '0 3 * * 0'",
    TIME_ZONE: "a time zone such as Europe/Berlin",
    KEY_IN_SECRET: "a key in a Secret: letters, digits, '-', '_' and '.'",
    MEMORY: "a size such as 512Mi or 1.5Gi",
    CPU: "an amount of CPU such as 500m or 2",
}
"""What each pattern means, for the sentence that refuses a value."""

DnsName = Annotated[str, Field(max_length=253, pattern=DNS_NAME)]
VersionText = Annotated[str, Field(max_length=11, pattern=VERSION)]
ImageTag = Annotated[str, Field(max_length=128, pattern=IMAGE_TAG)]
ImageDigest = Annotated[str, Field(max_length=71, pattern=IMAGE_DIGEST)]
Cron = Annotated[str, Field(max_length=128, pattern=CRON)]
Duration = Annotated[str, Field(max_length=24, pattern=DURATION)]
TimeZone = Annotated[str, Field(max_length=64, pattern=TIME_ZONE)]
AclWord = Annotated[str, Field(max_length=256, pattern=WORD)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]


def compared(left: str, operator: str, right: str) -> str:
    """CEL that compares two quantities; silent about what is no quantity, the pattern speaks of that."""
    both = f"isQuantity({left}) && isQuantity({right})"
    return f"!({both}) || quantity({left}).compareTo(quantity({right})) {operator} 0"


class Quantity:
    """A quantity between two others: in YAML a string or a whole number, in the model a string as written."""

    _LENGTH_MAX = 24

    def __init__(self, pattern: str, low: str, high: str) -> None:
        self._pattern = pattern
        self._low, self._high = exact(low), exact(high)
        self._rule = Rule(
            holds=lambda quantity: self._low <= exact(quantity) <= self._high,
            cel=f"!isQuantity(string(self)) || (quantity(string(self)).compareTo(quantity('{low}')) >= 0"
            f" && quantity(string(self)).compareTo(quantity('{high}')) <= 0)",
            message=f"must be from {low} to {high}; choose a value in that range",
        )

    def _spelled(self, value: Any) -> Any:
        if isinstance(value, float):
            raise PydanticCustomError(
                "unquoted_fraction",
                "is a fraction without quotes; write it as a string: '{value}'",
                {"value": value},
            )
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strict=True, max_length=self._LENGTH_MAX, pattern=self._pattern)
        bounded = core_schema.no_info_after_validator_function(Rules(self._rule).check, text)
        return core_schema.no_info_before_validator_function(self._spelled, bounded)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": self._pattern,
            "maxLength": self._LENGTH_MAX,
            "x-kubernetes-validations": validations((self._rule,)),
        }


Memory = Annotated[str, Quantity(MEMORY, "64Mi", "16Ti")]
"""64Mi is what a Valkey node needs to start, replicate and answer probes."""
Cpu = Annotated[str, Quantity(CPU, "10m", "512")]
Storage = Annotated[str, Quantity(MEMORY, "64Mi", "64Ti")]
