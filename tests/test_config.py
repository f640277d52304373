import base64
import subprocess
import sys
from pathlib import Path

import pytest

from reelworks.config import Recipe, Section, dump_recipe, fingerprint, load_recipe
from reelworks.errors import UserError


class Optimizer(Section):
    learning_rate: float = 1e-3
    """Per step."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of Adam."""


class Train(Recipe):
    steps: int
    """Optimizer steps."""
    optimizer: Optimizer = Optimizer()
    """How the weights move."""
    extra: Optimizer | None = None
    """Another one."""
    stages: list[Optimizer] = []
    """Several."""


def _load(path: Path, text: str, *overrides: str) -> Train:
    path.write_text(text)
    return load_recipe(Train, path, overrides)


def test_overrides_reach_nested_values_as_yaml(recipe_file: Path) -> None:
    recipe = _load(
        recipe_file, "{name: a, steps: 5}", "optimizer.learning_rate=1e-4", "steps=7", "extra={betas: [0, 1]}"
    )
    assert recipe == Train(
        name="a", steps=7, optimizer=Optimizer(learning_rate=1e-4), extra=Optimizer(betas=(0.0, 1.0))
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{name: a, stepz: 5}", "unknown key 'stepz', the nearest is 'steps'"),
        ("{name: a, steps: 5, optimizer: {learnin_rate: 1}}", "'optimizer.learnin_rate', the nearest is 'learning_"),
        ("{name: a, steps: 5, extra: {betaz: 1}}", "'extra.betaz', the nearest is 'betas'"),
        ("{name: a, steps: 5, stages: [{lerning_rate: 1}]}", "'stages.0.lerning_rate', the nearest is 'learning_rate'"),
        ("{name: a}", "steps is missing"),
        ("{name: a, steps: many}", "steps: Input should be a valid integer.*given: 'many'"),
        ("[1, 2]", "holds list, not keys"),
        ("{name: [", "is not YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_what_is_wrong(recipe_file: Path, text: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        _load(recipe_file, text)


@pytest.mark.parametrize("override", ["steps", "=5", "name.x=5"])
def test_a_wrong_override_is_refused(recipe_file: Path, override: str) -> None:
    with pytest.raises(UserError, match="--set"):
        _load(recipe_file, "{name: a, steps: 5}", override)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No recipe at .*none.yaml"):
        load_recipe(Train, tmp_path / "none.yaml")


def test_a_dumped_recipe_reads_back_equal_also_from_a_command_line(recipe_file: Path) -> None:
    recipe = _load(recipe_file, "{name: ä, steps: 5, stages: [{learning_rate: 2}]}")
    assert _load(recipe_file, dump_recipe(recipe)) == recipe
    inline = "data:" + base64.b64encode(dump_recipe(recipe).encode()).decode()
    assert load_recipe(Train, inline) == recipe


def test_fingerprints_depend_on_values_not_on_order_or_process() -> None:
    value = {"b": [1, 2.5, None], "a": {"y": "ü", "x": True}}
    assert fingerprint(value) == fingerprint({"a": {"x": True, "y": "ü"}, "b": (1, 2.5, None)})
    assert fingerprint(value) != fingerprint({**value, "b": [1, 2.5]})
    code = f"from reelworks.config import fingerprint; print(fingerprint({value!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == fingerprint(value)
    assert fingerprint(Optimizer()) == fingerprint({"learning_rate": 1e-3, "betas": [0.9, 0.95]})


def test_a_fingerprint_refuses_what_json_can_not_tell_apart() -> None:
    with pytest.raises(TypeError, match="must be strings"):
        fingerprint({1: "a"})
    with pytest.raises(ValueError):
        fingerprint(float("nan"))
