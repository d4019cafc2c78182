"""What can go wrong while a step is performed.

    StepError
    ├── UpdateFailed      Pulumi ended with an error; the stack's state is kept
    ├── StateUnreadable   what is kept of a cluster cannot be understood
    ├── UpdateCut         the update was stopped by us: the Lease was lost or the daemon ends
    └── NodeRefused       a Valkey server answered with an error

Errors of the Kubernetes seam have a tree of their own in daemon/kube/errors.py.
"""

from __future__ import annotations


class StepError(Exception):
    """A step could not be performed; its text is one sentence for status, event and log."""


class StateUnreadable(StepError):
    """The state Secret's content is not what we write."""


class UpdateFailed(StepError):
    """Pulumi reported an error."""


class UpdateCut(StepError):
    """The update was interrupted."""


class NodeRefused(StepError):
    """A Valkey server refused a command or did not answer it."""
