"""Recipes: one YAML a job, parsed into one frozen model in which unknown keys are errors."""

from __future__ import annotations

import base64
import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from reelworks.errors import UserError


class Section(BaseModel):
    """A part of a recipe: frozen, unknown keys forbidden, every field documented with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class Recipe(Section):
    """What every job's recipe has."""

    name: str
    """Name of this recipe; it names the run in MLflow."""
    experiment: str = "reelworks"
    """MLflow experiment that holds the run."""
    expect: dict[str, float] = {}
    """Result -> the least it must reach; the job compares."""
    strict: bool = False
    """Whether a missed expectation fails the job (exit code 3)."""

    def writes(self) -> Sequence[str]:
        """The s3:// prefixes that the job writes; they are checked for conditional writes before it starts."""
        return ()


R = TypeVar("R", bound=Recipe)


def load_recipe(cls: type[R], path: str | Path, overrides: Sequence[str] = ()) -> R:
    """The recipe in a YAML file (or `data:BASE64` of one) with `a.b=value` overrides (values are YAML).

    Raises UserError: no such file, not YAML, unknown key (naming the nearest), a value out of range.
    """
    try:
        values = yaml.safe_load(_text(path))
    except FileNotFoundError as error:
        raise UserError(f"No recipe at {path}", "Pass --recipe FILE; the recipes are in jobs/recipes/") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}, not keys and values")
    for override in overrides:
        _set(values, override)
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_complaints(cls, error)), "--dry-run prints the recipe") from error


def _text(path: str | Path) -> str:
    """A recipe that doesn't lie in the job's working directory travels inside its command line."""
    inline = str(path).removeprefix("data:")
    return Path(path).read_text() if inline == str(path) else base64.b64decode(inline).decode()


def dump_recipe(recipe: Section) -> str:
    """The resolved recipe as YAML; `load_recipe` reads it back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def fingerprint(value: Any) -> str:
    """sha256 hex of a value's canonical JSON: equal for equal values in every process."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys of a fingerprinted mapping must be strings: {list(value)[:3]}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, Path):
        return str(value)
    return value


def _set(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override!r} has no '='", "Write --set section.key=value")
    *parents, last = path.split(".")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {path}: {key} is a value, not a section")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {path}: {text!r} is not YAML") from error


def _complaints(cls: type[BaseModel], error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = sorted(_known_keys(cls, item["loc"][:-1]))
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.0)
            yield f"unknown key {where!r}" + (f", the nearest is {near[0]!r}" if near else "")
        elif item["type"] == "missing":
            yield f"{where} is missing"
        else:
            yield f"{where or 'recipe'}: {item['msg']} (given: {item['input']!r})"


def _known_keys(cls: type[BaseModel], parts: Sequence[int | str]) -> set[str]:
    """Field names of the section at a location; union members' tags and indexes are stepped over."""
    models = [cls]
    for part in parts:
        fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        models = [found for field in fields for found in _models_in(field)] or models
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
