"""`pulumi up --stack local|dev|staging|prod`: one environment."""

import pulumi

from stacks.config import load
from stacks.environment import deploy

deploy(load(pulumi.Config()))
