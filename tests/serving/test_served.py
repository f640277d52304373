import socket
import time

import pytest

from reelworks import storage, tracking
from reelworks.errors import UserError
from serving import served
from serving.served import Watch, read_served, resolve
from tests.serving.tiny_models import DEFAULTS, LIMITS, upload_models


@pytest.fixture(scope="module")
def uris(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return upload_models(tmp_path_factory.mktemp("models"), f"s3://reelworks/test/models-{time.time_ns()}")


@pytest.fixture(scope="module")
def registered(mlflow_server: str, uris: dict[str, str]) -> str:
    """A run in MLflow under which versions of `served-dit` and `served-expander` are registered."""
    with tracking.start_run("test", "register", {}, {}) as run:
        tracking.register("served-dit", uris["dit"], run.id)
        tracking.register("served-expander", uris["expander"], run.id)
    return run.id


def unreachable() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


def test_an_alias_becomes_a_version_a_digest_and_what_the_checkpoint_says(registered: str, uris: dict[str, str]):
    found = resolve("mlflow:served-dit@champion", "mlflow:served-expander@champion")
    assert (found.dit.name, found.dit.version, found.dit.uri) == ("served-dit", 1, uris["dit"])
    assert len(found.dit.digest) == 64
    assert (found.expander.version, found.expander.uri) == (1, uris["expander"])
    assert vars(found.defaults) == DEFAULTS
    assert vars(found.limits).items() >= LIMITS.items()
    assert (found.strides.time, found.strides.space, found.strides.patch) == (4, 8, (1, 1, 1))


def test_a_folder_of_the_bucket_can_be_served_without_a_registry(uris: dict[str, str]):
    found = resolve(uris["dit"], None)
    assert (found.dit.name, found.dit.version, found.expander) == ("dit", None, None)


def test_a_dit_that_is_not_in_the_bucket_is_refused_with_what_to_write():
    with pytest.raises(UserError, match="s3://"):
        resolve("hf:org/name", None)


def test_a_moved_alias_is_served_at_the_next_look(registered: str, uris: dict[str, str], prefix: str):
    watch = Watch(prefix, "mlflow:served-dit@champion", None, refresh_s=60)
    watch.refresh()
    first = watch.current()
    version = tracking.register("served-dit", uris["dit"], registered)
    watch.refresh()
    assert (first.dit.version, watch.current().dit.version) == (version - 1, version)
    assert read_served(prefix) == watch.current()


def test_without_the_registry_serving_goes_on_with_the_last_version_also_after_a_restart(
    registered: str, prefix: str, monkeypatch
):
    source = "mlflow:served-dit@champion"
    before = Watch(prefix, source, None, refresh_s=60)
    before.refresh()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", unreachable())
    before.refresh()
    restarted = Watch(prefix, source, None, refresh_s=60)
    restarted.refresh()
    assert restarted.current() == before.current() is not None


def test_a_registry_that_never_answers_does_not_keep_a_restarted_ingress_from_serving(
    uris: dict[str, str], prefix: str, monkeypatch
):
    served.write_served(prefix, resolve(uris["dit"], None))
    waiting = Watch(prefix, "mlflow:served-dit@champion", None, refresh_s=60)
    assert waiting.current() is None
    monkeypatch.setattr(served, "PATIENCE_S", 0.0)
    assert waiting.current().dit.uri == uris["dit"]


def test_nothing_is_served_before_anything_was_resolved(prefix: str):
    watch = Watch(prefix, "s3://reelworks/test/nothing", None, refresh_s=60)
    watch.refresh()
    assert watch.current() is None
    assert list(storage.list_objects(prefix)) == []
