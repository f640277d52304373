from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from serving.app import build
from serving.settings import AppArgs

CONFIGS = Path(__file__).parents[2] / "serving" / "configs"


@pytest.mark.parametrize("name", ["laptop.yaml", "cluster.yaml"])
def test_a_shipped_config_is_what_serve_and_the_builder_take(name: str):
    values = yaml.safe_load((CONFIGS / name).read_text())
    schema = ServeDeploySchema.model_validate(values)
    (application,) = schema.applications
    assert application.import_path == "serving.app:build"
    assert schema.http_options.host == "127.0.0.1"  # Serve has no keys and no TLS of its own
    args = AppArgs.model_validate(application.args)
    assert build(args)._bound_deployment.name == "Ingress"


def test_both_workers_autoscale_in_every_shipped_config():
    for path in CONFIGS.glob("*.yaml"):
        args = AppArgs.model_validate(yaml.safe_load(path.read_text())["applications"][0]["args"])
        for part in (args.expansion, args.sampling):
            assert part.replicas.max_replicas > part.replicas.min_replicas


def test_the_drain_fits_into_the_time_that_serve_gives_a_replica():
    sampler = build(AppArgs())._bound_deployment.init_args[-1]._bound_deployment
    assert sampler.name == "Sampler"
    assert sampler._deployment_config.graceful_shutdown_timeout_s > AppArgs().sampling.drain_s


@pytest.mark.parametrize(
    "values",
    [
        {"modle": "x"},
        {"sampling": {"lease_s": 0}},
        {"sampling": {"replicas": {"min_replicas": 3, "max_replicas": 2}}},
        {"ingress": {"num_replicas": 0}},
    ],
)
def test_a_mistake_in_the_arguments_is_found_before_anything_is_deployed(values: dict):
    with pytest.raises(ValidationError):
        AppArgs.model_validate(values)


def test_without_an_expander_the_sampler_stands_alone():
    sampler = build(AppArgs(expander=None))._bound_deployment.init_args[-1]._bound_deployment
    assert sampler.init_args[-1] is None
