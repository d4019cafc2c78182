"""The Kubernetes seam of the daemon: everything that talks to the API server, and nothing that decides.

    observe, act, provision, watch          (read stores; call KubeApi; ask the Lease before each write)
        |
    listwatch -> store    lease    events   (ours: what the Python clients lack)
        |                   |        |
        +------- api.KubeApi --------+      (the seam: fakes implement it)
                     |
              client.LightkubeApi           (HTTP; lightkube's credentials, no typed models)

Objects are plain dicts, the parsed JSON of the server's answers, and are never changed in place: a store,
a View and a log line may hold the same one. Every error is in errors.py.
"""
