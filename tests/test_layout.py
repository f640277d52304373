"""The rules that drift without a gate: direction of imports, length of files and functions, one name that kills Ray."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path for part in ("platform", "jobs", "serving", "infra", "tests") for path in sorted((ROOT / part).rglob("*.py"))
]
LONGEST_FILE = 300
LONGEST_FUNCTION = 60

# Lower first; a module imports from its own layer and those above it in this list.
LAYERS = [
    {"config", "schema", "errors"},
    {"storage", "tracking", "video"},
    {"diffusion", "models"},
    {"curate", "data", "shapeworld"},
    {"generate"},
    {"train", "evaluate"},
    {"job", "submit", "jobs", "serving"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Opens every kind of source, hence imports upwards of its users: only ever imported inside their functions.
RESOLVE = "resolve"
LEVEL[RESOLVE] = LEVEL["storage"]


def _part(path: Path) -> str:
    """The name in LAYERS that a source file belongs to."""
    parts = path.relative_to(ROOT).parts
    if parts[0] != "platform":
        return parts[0]
    return parts[2].removesuffix(".py")


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module of ours as the name of its part, and the line, wherever the import stands."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{name}" for name in names] if module == "reelworks" else [module]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "reelworks" and rest:
                yield rest.partition(".")[0], node.lineno
            elif first in ("serving", "jobs", "infra"):
                yield first, node.lineno


def _product_sources() -> list[Path]:
    return [path for path in SOURCES if _part(path) in LEVEL]


def test_no_package_shadows_the_standard_librarys_platform() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists(), "it would break `import ray`"


def test_every_module_has_its_layer() -> None:
    assert {_part(path) for path in (ROOT / "platform" / "reelworks").rglob("*.py")} - {"__init__"} <= set(LEVEL)


def test_imports_go_downward_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path in _product_sources()
        for target, line in _imports(ast.parse(path.read_text()))
        if LEVEL.get(target, len(LAYERS)) > LEVEL[_part(path)]
    ]
    assert wrong == []


def test_resolve_is_imported_only_inside_functions() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in _product_sources()
        for node in ast.parse(path.read_text()).body
        for target, _ in _imports(ast.Module([node], []))
        if target == RESOLVE and isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert wrong == []


def test_files_and_functions_are_short_enough_to_read() -> None:
    long = []
    for path in SOURCES:
        text = path.read_text()
        if text.count("\n") > LONGEST_FILE:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_files_are_named_after_what_they_hold() -> None:
    vague = {"utils", "helpers", "common", "misc", "base"}
    assert [str(path.relative_to(ROOT)) for path in SOURCES if path.stem in vague] == []


@pytest.mark.parametrize("library", ["boto3", "mlflow", "deepspeed"])
def test_each_service_is_wrapped_in_one_place(library: str) -> None:
    homes = {"boto3": {"storage"}, "mlflow": {"tracking"}, "deepspeed": {"train"}}
    users = set()
    for path in _product_sources():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == library for name in names):
                users.add(_part(path))
    assert users <= homes[library]


BLOCKED = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "boto3", "botocore", "mlflow", "deepspeed", "decord", "av"}:
            raise ImportError(f"{name} is not on a GPU machine")

sys.meta_path.insert(0, Refuse())
import reelworks.data.packing
for package in ("models", "diffusion", "generate"):
    module = importlib.import_module(f"reelworks.{package}")
    for found in pkgutil.walk_packages(module.__path__, module.__name__ + "."):
        importlib.import_module(found.name)
"""


def test_generation_imports_on_a_machine_with_only_pytorch_and_transformers() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_commands_and_recipes_start_without_the_heavy_libraries() -> None:
    heavy = {"ray", "torch", "mlflow", "boto3"}
    code = f"import sys, reelworks.cli, reelworks.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
