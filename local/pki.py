"""The cluster's certificate authority and one certificate per identity; kubeconfigs are made from them.

Every certificate serves for both ends of a connection. Nothing is ever made anew while it is there, so a
second `up` changes no key.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local import paths
from local.network import API_ADDRESS, API_SERVICE_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

API_URL = f"https://{API_ADDRESS}:6443"
_VALIDITY = dt.timedelta(days=3650)
_MASTERS = "system:masters"


@dataclass(frozen=True)
class Identity:
    """Who a certificate is for."""

    name: str
    """File name of its key and certificate."""
    common_name: str
    organization: str = ""
    names: tuple[str, ...] = ()
    """DNS names and addresses it serves under."""


CONTROL_PLANE = (
    Identity(
        "apiserver",
        "kube-apiserver",
        names=(
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            API_SERVICE_ADDRESS,
            API_ADDRESS,
            "127.0.0.1",
        ),
    ),
    Identity("apiserver-kubelet", "kube-apiserver-kubelet-client", _MASTERS),
    Identity("admin", "kubernetes-admin", _MASTERS),
    Identity("controller-manager", "system:kube-controller-manager", names=("127.0.0.1",)),
    Identity("scheduler", "system:kube-scheduler", names=("127.0.0.1",)),
    Identity("proxy", "system:kube-proxy"),
    Identity("coredns", "coredns", _MASTERS),
    Identity("cert-manager", "cert-manager", _MASTERS),
)

CLIENTS = ("controller-manager", "scheduler", "proxy", "coredns", "cert-manager")
"""Identities whose program reads a kubeconfig of its own."""


def node_identity(name: str, address: str) -> Identity:
    """Identity of a kubelet, in the form that the Node authorizer asks for."""
    return Identity(name, f"system:node:{name}", "system:nodes", names=(name, address))


def key_file(name: str) -> Path:
    """Private key of an identity."""
    return paths.PKI / f"{name}.key"


def certificate_file(name: str) -> Path:
    """Certificate of an identity."""
    return paths.PKI / f"{name}.crt"


def ensure(identities: Iterable[Identity]) -> None:
    """Make the authority, the service account keys and the certificates that are not there yet."""
    paths.PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not certificate_file("ca").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key("ca", key)
        _write_certificate("ca", _authority(key))
    if not (paths.PKI / "service-accounts.pub").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key("service-accounts", key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        paths.write_if_changed(paths.PKI / "service-accounts.pub", public.decode())
    for identity in identities:
        if not certificate_file(identity.name).exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(identity.name, key)
            _write_certificate(identity.name, _leaf(identity, key))


def kubeconfig(name: str) -> str:
    """A kubeconfig of that identity with everything inside, so that it may be copied elsewhere."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "valkeeper-local",
                "cluster": {
                    "server": API_URL,
                    "certificate-authority-data": _encoded(certificate_file("ca")),
                },
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _encoded(certificate_file(name)),
                    "client-key-data": _encoded(key_file(name)),
                },
            }
        ],
        "contexts": [{"name": "valkeeper-local", "context": {"cluster": "valkeeper-local", "user": name}}],
        "current-context": "valkeeper-local",
    }
    return json.dumps(content, indent=2) + "\n"


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _write_key(name: str, key: ec.EllipticCurvePrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    paths.write_if_changed(key_file(name), text, mode=0o600)


def _write_certificate(name: str, certificate: x509.Certificate) -> None:
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    paths.write_if_changed(certificate_file(name), text)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _VALIDITY)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valkeeper-local")])
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(identity: Identity, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    authority = x509.load_pem_x509_certificate(certificate_file("ca").read_bytes())
    signer = serialization.load_pem_private_key(key_file("ca").read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{key_file('ca')} is not the key that this module wrote")
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)]
    if identity.organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organization))
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        _builder(x509.Name(parts), authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if identity.names:
        served = [_general_name(name) for name in identity.names]
        builder = builder.add_extension(x509.SubjectAlternativeName(served), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
