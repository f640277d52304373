import subprocess
import sys
import time
from pathlib import Path

import pytest

from reelworks.errors import UserError
from reelworks.generate.request import Defaults, GenerationRequest
from serving.engine import PipelineEngine, open_pipeline
from serving.served import resolve
from tests.serving.tiny_models import DEFAULTS, upload_models

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dit(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return upload_models(tmp_path_factory.mktemp("models"), f"s3://reelworks/test/models-{time.time_ns()}")["dit"]


@pytest.fixture(scope="module")
def engine(dit: str) -> PipelineEngine:
    return open_pipeline(resolve(dit, None).dit, num_threads=1)


def request(**asked: float) -> GenerationRequest:
    return Defaults(**DEFAULTS).request("a red circle", **asked)


def finished(engine: PipelineEngine) -> dict:
    frames = {}
    for _ in range(50):
        frames |= {news.name: news.frames for news in engine.step() if news.frames is not None}
    return frames


def test_a_request_that_joins_late_and_one_that_leaves_do_not_change_the_others(engine: PipelineEngine):
    alone = engine.admit(request(seed=3))
    expected = finished(engine)[alone]
    first = engine.admit(request(seed=3))
    leaving = engine.admit(request(seed=4, width=64, seconds=2.0))
    assert {news.name: news.share for news in engine.step()} == {first: 0.25, leaving: 0.25}
    late = engine.admit(request(seed=5, height=48, steps=2))
    engine.evict(leaving)
    frames = finished(engine)
    assert set(frames) == {first, late}
    assert frames[late].shape == (9, 48, 48, 3)
    # A pack's sums may round otherwise than a lone request's.
    assert abs(frames[first].astype(int) - expected.astype(int)).max() <= 1


def test_there_is_room_for_a_first_request_of_any_size_and_not_for_all_at_once(engine: PipelineEngine):
    big = request(width=64, height=64, seconds=2.0)
    names = []
    while engine.has_room(big):
        names.append(engine.admit(big))
        assert len(names) < 200
    assert len(names) >= 2
    for name in names:
        engine.evict(name)
    assert engine.has_room(big)


def test_files_other_than_those_that_were_pinned_are_refused(dit: str):
    pin = resolve(dit, None).dit.model_copy(update={"digest": "0" * 64})
    with pytest.raises(UserError):
        open_pipeline(pin, num_threads=1)


def test_the_ingress_and_the_builder_start_without_the_seconds_of_pytorch_and_mlflow():
    heavy = "{'torch', 'transformers', 'mlflow', 'av', 'pyarrow.parquet'}"
    code = f"import sys, serving.app, serving.api, serving.endpoint; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "[]"
