# The daemon's image for real registries. `make up` makes the same one for the local Kubernetes without Docker.
FROM pulumi/pulumi-base:3.259.0 AS pulumi
RUN pulumi plugin install resource kubernetes v4.25.0

FROM python:3.11.13-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends tini ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY --from=pulumi /pulumi/bin/pulumi /opt/pulumi/bin/
COPY --from=pulumi /root/.pulumi/plugins/resource-kubernetes-v4.25.0/pulumi-resource-kubernetes /opt/pulumi/bin/
COPY valkey_cluster /app/valkey_cluster
COPY stacks /app/stacks
COPY daemon /app/daemon
ENV PATH=/opt/pulumi/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 USER=valkeeper
USER 65532:65532
WORKDIR /app
ENTRYPOINT ["/usr/bin/tini", "--", "python3", "-m", "daemon"]
