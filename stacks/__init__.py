"""Pulumi programs, shared by the command line and the daemon.

`cluster` is one ValkeyCluster's stack, run by the daemon; `environment` is what `pulumi up --stack NAME`
runs: CRDs, rights, the daemon and the environment's clusters.
"""
