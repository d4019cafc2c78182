"""A real Kubernetes on this one machine, from package registries alone.

`parts` and `build` make the programs, `debian`, `oci` and `images` the container images, `pki`, `config`,
`network` and `cgroups` what they need, `processes`, `control_plane` and `nodes` run them, `addons` puts
storage and certificates into the cluster, and `cluster` is the order in which all that happens.
There is one such Kubernetes per machine; every checkout shares it. Run it with `python -m local`.
"""
