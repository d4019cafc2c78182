"""Parts of the spec whose names and meaning are settled and whose use is refused until they work.

NOT_SUPPORTED_YET is the only place to touch when one of them starts to work.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.alias_generators import to_snake

from valkey_cluster.spec.formats import (
    IMAGE,
    KEY_IN_SECRET,
    PRINTABLE,
    AclWord,
    Cron,
    DnsName,
    Duration,
    TimeZone,
)
from valkey_cluster.spec.placement import Selector
from valkey_cluster.spec.rule import WHOLE, CrModel, Rule


class IssuerRefSpec(CrModel):
    """A cert-manager issuer."""

    name: DnsName = Field(description="Name of the issuer.")
    kind: Literal["Issuer", "ClusterIssuer"] = Field(default="Issuer", description="Kind of the issuer.")
    group: DnsName = Field(default="cert-manager.io", description="API group of the issuer.")


class TlsSpec(CrModel):
    """Encryption of all traffic: clients, replication and cluster bus."""

    enabled: bool = Field(default=False, description="Serve TLS only. Not supported yet.")
    issuer_ref: IssuerRefSpec | None = Field(
        default=None, description="The cert-manager issuer of the cluster's certificate."
    )
    secret_name: DnsName | None = Field(
        default=None, description="An existing Secret with tls.crt, tls.key and ca.crt, instead of an issuer."
    )
    duration: Duration | None = Field(
        default=None, description="How long a certificate is valid. Default: cert-manager's, 2160h."
    )
    renew_before: Duration | None = Field(
        default=None, description="How long before its end a certificate is renewed. Default: a third of it."
    )
    client_certificates: Literal["None", "Optional", "Required"] = Field(
        default="None", description="Whether clients show a certificate of their own."
    )


class PasswordSecretRef(CrModel):
    """A password in a Secret."""

    name: DnsName = Field(description="Name of the Secret.")
    key: str = Field(
        default="password", max_length=253, pattern=KEY_IN_SECRET, description="Key in the Secret."
    )


class UserSpec(CrModel):
    """A Valkey user (ACL)."""

    name: str = Field(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the user.")
    enabled: bool = Field(default=True, description="Whether the user can log in.")
    password_secret_refs: tuple[PasswordSecretRef, ...] = Field(
        default=(), max_length=4, description="The user's passwords; two of them while one is rotated."
    )
    commands: tuple[AclWord, ...] = Field(
        default=(), max_length=64, description="Commands and categories, such as +@read or -flushall."
    )
    keys: tuple[AclWord, ...] = Field(
        default=(), max_length=64, description="Key patterns, such as ~orders:* or %R~*."
    )
    channels: tuple[AclWord, ...] = Field(
        default=(), max_length=64, description="Patterns of Pub/Sub channels, such as &news:*."
    )


class MetricsSpec(CrModel):
    """Metrics for Prometheus."""

    enabled: bool = Field(default=False, description="Run an exporter beside each node. Not supported yet.")
    service_monitor: bool = Field(default=False, description="Make a ServiceMonitor.")
    image: str | None = Field(
        default=None,
        max_length=512,
        pattern=IMAGE,
        description="Image of the exporter. Default: valkeeper's.",
    )


class LabelSelectorSpec(CrModel):
    """Selects objects by label; without labels, all."""

    match_labels: Selector = Field(default={}, description="Labels that must be there.")


class NetworkClientSpec(CrModel):
    """Pods that may connect."""

    namespace_selector: LabelSelectorSpec | None = Field(
        default=None, description="Namespaces of the pods. Default: the cluster's own."
    )
    pod_selector: LabelSelectorSpec | None = Field(
        default=None, description="Which pods of those namespaces. Default: all."
    )


class NetworkPolicySpec(CrModel):
    """Who may reach the cluster over the network."""

    enabled: bool = Field(default=False, description="Make a NetworkPolicy. Not supported yet.")
    clients: tuple[NetworkClientSpec, ...] = Field(
        default=(), max_length=32, description="Who may connect besides the cluster and valkeeper."
    )


class MaintenanceWindowSpec(CrModel):
    """A time in which changes may happen."""

    schedule: Cron = Field(description="When it opens, as a cron schedule of five fields.")
    duration_minutes: Annotated[int, WHOLE] = Field(
        default=60, ge=10, le=10080, description="How long it stays open, in minutes."
    )
    time_zone: TimeZone = Field(default="Etc/UTC", description="Time zone of the schedule.")


class UpdatePolicySpec(CrModel):
    """When changes are made."""

    mode: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description="Automatic makes changes at once. Manual shows them in status.plan and waits for the "
        "annotation valkeeper.io/approve with the hash that status.message names; healing never waits.",
    )
    maintenance_windows: tuple[MaintenanceWindowSpec, ...] = Field(
        default=(), max_length=16, description="Restarts of pods wait for one of these; healing never does."
    )


class HibernateSpec(CrModel):
    """Pods away, data and slots kept."""

    enabled: bool = Field(default=False, description="Sleep now. Not supported yet.")
    schedule: Cron | None = Field(default=None, description="When to go to sleep. Not supported yet.")
    wake_schedule: Cron | None = Field(default=None, description="When to wake up. Not supported yet.")
    time_zone: TimeZone = Field(default="Etc/UTC", description="Time zone of both schedules.")


class S3Spec(CrModel):
    """A bucket to keep backups in."""

    bucket: str = Field(
        min_length=3, max_length=63, pattern="^[a-z0-9][a-z0-9.-]*$", description="Name of the bucket."
    )
    prefix: str = Field(default="", max_length=512, pattern=PRINTABLE, description="Prefix of object keys.")
    region: str | None = Field(default=None, max_length=64, pattern="^[a-z0-9-]+$", description="Region.")
    endpoint: str | None = Field(
        default=None, max_length=512, pattern="^https?://[^ ]+$", description="Endpoint. Default: AWS."
    )
    credentials_secret_name: DnsName | None = Field(
        default=None,
        description="Secret with access-key-id and secret-access-key. Default: the pod's identity.",
    )


class ClaimSpec(CrModel):
    """A PersistentVolumeClaim to keep backups in."""

    name: DnsName = Field(description="Name of the claim.")


class RetentionSpec(CrModel):
    """How many backups stay."""

    keep: Annotated[int, WHOLE] = Field(
        default=7, ge=1, le=1000, description="How many of the newest backups stay."
    )


class BackupSpec(CrModel):
    """Backups on a schedule, to a bucket or a claim. Not supported yet."""

    schedule: Cron = Field(description="When to back up, as a cron schedule of five fields.")
    time_zone: TimeZone = Field(default="Etc/UTC", description="Time zone of the schedule.")
    s3: S3Spec | None = Field(default=None, description="Bucket to keep backups in.")
    claim: ClaimSpec | None = Field(default=None, description="Claim to keep backups in, instead of s3.")
    retention: RetentionSpec = Field(default=RetentionSpec(), description="How many backups stay.")


@dataclass(frozen=True)
class NotYet:
    """A field that may be written only so that it asks for nothing."""

    field: str
    nothing: bool | str | tuple[()] | None
    """The value that asks for nothing; None: the field must be absent."""
    sentence: str


NOT_SUPPORTED_YET = (
    NotYet("tls.enabled", False, "TLS is not supported yet; leave it out or set false"),
    NotYet("users", (), "users are not supported yet; leave it out"),
    NotYet("metrics.enabled", False, "the exporter is not supported yet; leave it out or set false"),
    NotYet("networkPolicy.enabled", False, "NetworkPolicy is not supported yet; leave it out or set false"),
    NotYet("readService.enabled", False, "the read Service is not supported yet; leave it out or set false"),
    NotYet("hibernate.enabled", False, "hibernation is not supported yet; leave it out or set false"),
    NotYet("hibernate.schedule", None, "hibernation is not supported yet; leave it out"),
    NotYet("hibernate.wakeSchedule", None, "hibernation is not supported yet; leave it out"),
    NotYet("backup", None, "backups are not supported yet; leave it out"),
    NotYet("podTemplate", None, "pod template overrides are not supported yet; leave it out"),
)
"""Fields of the spec that are refused when they ask for something. Delete a row when its field works."""


def not_yet_rule(not_yet: NotYet) -> Rule:
    """The rule, on the spec as a whole, that refuses the field's use."""
    value: Any = attrgetter(to_snake(not_yet.field))
    cel = {
        bool: f"!self.{not_yet.field}",
        str: f"self.{not_yet.field} == '{not_yet.nothing}'",
        tuple: f"!has(self.{not_yet.field}) || size(self.{not_yet.field}) == 0",
        type(None): f"!has(self.{not_yet.field})",
    }[type(not_yet.nothing)]
    return Rule(
        holds=lambda spec: value(spec) == not_yet.nothing,
        cel=cel,
        message=not_yet.sentence,
        field=not_yet.field,
    )
