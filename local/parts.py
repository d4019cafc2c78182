"""The pins: which program comes from which Go module, and how it is built.

Versions stand in each part's own go.mod (parts/<name>/): the dependency sets clash, so they cannot share
one. A version repeated here is stamped into the binary because it reports it.
"""

from __future__ import annotations

from dataclasses import dataclass

KUBERNETES_VERSION = "1.36.3"
PULUMI_VERSION = "3.259.0"
PROVIDER_VERSION = "4.25.0"
LANGUAGE_HOST_VERSION = "3.78.1"

_KUBERNETES_STAMP = "k8s.io/component-base/version"
_PULUMI_STAMP = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_PROVIDER_MODULE = "github.com/pulumi/pulumi-kubernetes/provider/v4"


@dataclass(frozen=True)
class ModuleFiles:
    """Files that a module carries beside its code; copied to the part's `share` folder."""

    module: str
    pattern: str


@dataclass(frozen=True)
class Part:
    """One go.mod and the programs made from it."""

    name: str
    """Folder below local/parts."""
    binaries: tuple[tuple[str, str], ...]
    """(program, package) pairs."""
    stamps: tuple[tuple[str, str], ...] = ()
    """(variable, value) pairs for the linker."""
    links: tuple[str, ...] = ()
    """Further names of the first program, which looks at the name it is called by."""
    tags: str = ""
    jobs: int | None = None
    """Compiles at the same time; None lets Go decide."""
    share: tuple[ModuleFiles, ...] = ()
    schema: ModuleFiles | None = None
    """The provider's schema, which its main.go embeds as schema-embed.json."""


KUBERNETES = Part(
    name="kubernetes",
    binaries=(("kube-apiserver", "."),),
    links=("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    stamps=(
        (f"{_KUBERNETES_STAMP}.gitVersion", f"v{KUBERNETES_VERSION}"),
        (f"{_KUBERNETES_STAMP}.gitMajor", KUBERNETES_VERSION.partition(".")[0]),
        (f"{_KUBERNETES_STAMP}.gitMinor", KUBERNETES_VERSION.split(".")[1]),
    ),
)
ETCD = Part(name="etcd", binaries=(("etcd", "go.etcd.io/etcd/server/v3"),))
CONTAINERD = Part(
    name="containerd",
    binaries=tuple(
        (command, f"github.com/containerd/containerd/v2/cmd/{command}")
        for command in ("containerd", "ctr", "containerd-shim-runc-v2")
    ),
)
COREDNS = Part(name="coredns", binaries=(("coredns", "."),))
CERT_MANAGER = Part(
    name="cert-manager",
    binaries=(("cert-manager-controller", "github.com/cert-manager/cert-manager/cmd/controller"),),
    share=(ModuleFiles("github.com/cert-manager/cert-manager", "deploy/crds/crd-*.yaml"),),
)
PULUMI = Part(
    name="pulumi",
    binaries=(("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"),),
    stamps=((_PULUMI_STAMP, f"v{PULUMI_VERSION}"),),
    tags="osusergo,grpcnotrace",
    share=(
        ModuleFiles("github.com/pulumi/pulumi/sdk/v3", "python/cmd/pulumi-language-python-exec"),
        ModuleFiles("github.com/pulumi/pulumi/sdk/v3", "python/dist/pulumi-resource-pulumi-python"),
    ),
)
PULUMI_KUBERNETES = Part(
    name="pulumi-kubernetes",
    binaries=(("pulumi-resource-kubernetes", "."),),
    stamps=((f"{_PROVIDER_MODULE}/pkg/version.Version", PROVIDER_VERSION),),
    jobs=2,  # one compile of its API packages takes over 2 GB
    schema=ModuleFiles(_PROVIDER_MODULE, "cmd/pulumi-resource-kubernetes/schema.json"),
)
PULUMI_LANGUAGE_PYTHON = Part(
    name="pulumi-language-python",
    binaries=(
        ("pulumi-language-python", "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"),
    ),
    stamps=((_PULUMI_STAMP, f"v{LANGUAGE_HOST_VERSION}"),),
)

KUBERNETES_PARTS = (KUBERNETES, ETCD, CONTAINERD, COREDNS, CERT_MANAGER)
"""What only the local Kubernetes needs."""
PULUMI_PARTS = (PULUMI, PULUMI_KUBERNETES, PULUMI_LANGUAGE_PYTHON)
"""What every user needs, unless it is installed."""
