"""The contract of the `args:` of a Serve config: typed, documented, unknown keys forbidden."""

from __future__ import annotations

from pydantic import Field, model_validator

from reelworks.config import Section


class Replicas(Section):
    """Bounds and delays of a deployment's autoscaling."""

    min_replicas: int = Field(default=1, ge=0)
    """Fewest replicas; 0 scales to zero."""
    max_replicas: int = Field(default=2, ge=1)
    """Most replicas."""
    upscale_delay_s: float = Field(default=2.0, ge=0)
    """How long more must be wanted before there are more, in s."""
    downscale_delay_s: float = Field(default=30.0, ge=0)
    """How long fewer must be wanted before there are fewer, in s."""

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}")
        return self


class IngressArgs(Section):
    """The HTTP deployment."""

    num_replicas: int = Field(default=1, ge=1)
    """Replicas; each answers for every job."""
    num_cpus: float = Field(default=0.5, ge=0)
    """Ray's CPUs a replica."""
    refresh_s: float = Field(default=10.0, gt=0)
    """How often the registry's aliases are looked up, in s."""
    sweep_s: float = Field(default=60.0, gt=0)
    """How often deleted jobs' objects are removed, in s."""
    max_body_bytes: int = Field(default=4 * 2**20, gt=0)
    """Largest body of a request in bytes."""
    max_pending_per_key: int = Field(default=1000, ge=1)
    """Unfinished jobs that one API key may have; more are refused with 429."""
    poll_after_ms: int = Field(default=1000, ge=1)
    """How long clients are asked to wait between two polls, in ms."""


class ExpanderArgs(Section):
    """The deployment that turns short prompts into descriptive ones."""

    replicas: Replicas = Replicas()
    """Autoscaling by requests in flight."""
    num_cpus: float = Field(default=1.0, ge=0)
    """Ray's CPUs a replica."""
    num_gpus: float = Field(default=0.0, ge=0)
    """Ray's GPUs a replica."""
    num_threads: int = Field(default=0, ge=0)
    """PyTorch's threads a replica; 0 leaves PyTorch's own choice."""
    target_ongoing_requests: float = Field(default=4.0, gt=0)
    """Requests in flight that one replica should have."""
    start_timeout_s: float = Field(default=60.0, gt=0)
    """How long a new replica waits for the registry's answer before the first job names its model, in s."""


class SamplerArgs(Section):
    """The deployment that makes the videos."""

    replicas: Replicas = Replicas()
    """Autoscaling by the depth of the durable queue."""
    num_cpus: float = Field(default=1.0, ge=0)
    """Ray's CPUs a replica."""
    num_gpus: float = Field(default=0.0, ge=0)
    """Ray's GPUs a replica."""
    num_threads: int = Field(default=0, ge=0)
    """PyTorch's threads a replica; 0 leaves PyTorch's own choice."""
    jobs_per_replica: int = Field(default=8, ge=1)
    """Unfinished jobs that ask for one replica more."""
    max_jobs: int = Field(default=16, ge=1)
    """Jobs that one replica holds at a time, those in preparation and encoding included."""
    max_losses: int = Field(default=4, ge=1)
    """Workers that may be lost on one job before it fails."""
    lease_s: float = Field(default=30.0, gt=0)
    """A job whose worker has been silent for so long is taken over, in s."""
    poll_s: float = Field(default=0.5, gt=0)
    """How often the queue is looked at, in s."""
    expand_timeout_s: float = Field(default=20.0, gt=0)
    """How long a job waits for its expanded prompt before it goes on with its own, in s."""
    stall_s: float = Field(default=600.0, gt=0)
    """A step that takes longer than this, in s, costs the replica."""
    drain_s: float = Field(default=30.0, ge=0)
    """How long a replica that is stopped goes on with its jobs before it gives them back, in s."""


class AppArgs(Section):
    """One endpoint."""

    root: str = "s3://reelworks/serving"
    """Bucket prefix of the endpoint's jobs and keys."""
    model: str = "mlflow:shapeworld-dit@champion"
    """Model source of the DiT; its checkpoint names the VAE and the text encoder."""
    expander: str | None = "mlflow:shapeworld-expander@champion"
    """Model source of the expander; null samples the prompts as they stand."""
    ingress: IngressArgs = IngressArgs()
    """The HTTP deployment."""
    expansion: ExpanderArgs = ExpanderArgs()
    """The expander's deployment."""
    sampling: SamplerArgs = SamplerArgs()
    """The sampler's deployment."""
