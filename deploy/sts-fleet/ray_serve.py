"""STS services as replicas of a Ray Serve deployment, where a fleet runs Ray already; nginx.conf costs less.

    DUBRELAY_STS__KEY=... serve run --app-dir deploy/sts-fleet ray_serve:app

Settings come from the environment of the replicas; host, port and TLS are Ray's. Ray Serve answers 500 where a replica
dies with a phrase: workers ask once more.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from ray import serve


def service() -> FastAPI:
    """Called in each replica."""
    from dubrelay import config, logs  # noqa: PLC0415  (in the replica, not where it is deployed from)
    from dubrelay.sts.app import build_app  # noqa: PLC0415

    settings = config.load(None, os.environ)
    logs.setup("sts", settings.log.level, "json")
    return build_app(settings)


app = serve.deployment(
    name="dubrelay-sts",
    num_replicas=int(os.environ.get("REPLICAS", "2")),
    max_ongoing_requests=16,  # sts.max_queue
    ray_actor_options={"num_cpus": float(os.environ.get("CPUS", "1"))},  # "num_gpus": 1 where the engines use one
    graceful_shutdown_timeout_s=20,
)(serve.ingress(service)()).bind()
