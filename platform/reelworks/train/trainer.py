"""Ray Train: a group of workers that runs a training loop and is started again when one of them dies."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def worker_environment(cpus: float, gpus: float) -> dict[str, str]:
    """Environment of a worker. DeepSpeed reads DS_ACCELERATOR at import, so it is set before the process starts."""
    # Ray Train would log every printed line and print it too.
    once = {"RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}
    if gpus:
        return once
    threads = {name: str(max(1, int(cpus))) for name in THREAD_VARIABLES}
    # One fixed folder of compiled operators for all workers and runs: built in set-up, never in a job.
    kept = {name: os.environ[name] for name in ("TORCH_EXTENSIONS_DIR",) if name in os.environ}
    return {**once, **threads, **kept, "DS_ACCELERATOR": "cpu"}


def fit(
    loop: Callable[[dict[str, Any]], Any],
    config: dict[str, Any],
    name: str,
    num_workers: int,
    cpus: float,
    gpus: float,
    max_failures: int,
    storage_path: Path,
    datasets: dict[str, Any] | None = None,
) -> Any:
    """Run `loop(config)` on every worker; returns what rank 0 returned.

    A failed worker restarts the group at most `max_failures` times; the loop resumes from its own checkpoint.
    Raises Ray Train's error when that is spent.
    """
    # By their own modules: type checkers see their predecessors behind ray.train.
    from ray.train.torch import TorchConfig
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    resources = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    trainer = TorchTrainer(
        loop,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=gpus > 0, resources_per_worker=resources),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage_path),
            failure_config=FailureConfig(max_failures=max_failures),
            worker_runtime_env={"env_vars": worker_environment(cpus, gpus)},
        ),
        datasets=datasets,
    )
    result: Any = trainer.fit()
    return result.return_value
