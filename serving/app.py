"""The Serve application, built from typed arguments: `serve deploy serving/configs/laptop.yaml`."""

# No `from __future__ import annotations` here: Serve reads the builder's annotation as a class.

import math

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from serving.autoscale import QueueDepthPolicy
from serving.deployments import Expander, Ingress, Sampler
from serving.settings import AppArgs, ExpanderArgs

# Serve ends a replica's drain by force after this; above it the sampler has its `drain_s`.
SHUTDOWN_MARGIN_S = 15.0
QUEUED_PER_REPLICA = 4  # requests that an expander replica takes for each that it should have in flight
MAX_ONGOING_REQUESTS = 200  # of an ingress replica, whose requests wait for the bucket and not for the CPU


def build(args: AppArgs) -> serve.Application:
    """The ingress in front of the sampler, the sampler in front of the expander."""
    expander = _expander(args.expansion).bind(args.root, args.expansion) if args.expander else None
    sampler = _sampler(args).bind(args.root, args.sampling, expander)
    ingress = serve.deployment(
        num_replicas=args.ingress.num_replicas,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        ray_actor_options={"num_cpus": args.ingress.num_cpus},
    )(Ingress)
    return ingress.bind(args.root, args.ingress, args.model, args.expander, sampler)


def _expander(part: ExpanderArgs) -> serve.Deployment:
    scaling = AutoscalingConfig(**part.replicas.model_dump(), target_ongoing_requests=part.target_ongoing_requests)
    return serve.deployment(
        autoscaling_config=scaling,
        max_ongoing_requests=QUEUED_PER_REPLICA * math.ceil(part.target_ongoing_requests),
        ray_actor_options={"num_cpus": part.num_cpus, "num_gpus": part.num_gpus},
    )(Expander)


def _sampler(args: AppArgs) -> serve.Deployment:
    part = args.sampling
    policy = AutoscalingPolicy(
        policy_function=QueueDepthPolicy,
        policy_kwargs={"root": args.root, "jobs_per_replica": part.jobs_per_replica},
    )
    return serve.deployment(
        autoscaling_config=AutoscalingConfig(**part.replicas.model_dump(), policy=policy),
        ray_actor_options={"num_cpus": part.num_cpus, "num_gpus": part.num_gpus},
        graceful_shutdown_timeout_s=part.drain_s + SHUTDOWN_MARGIN_S,
    )(Sampler)
