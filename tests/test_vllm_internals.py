"""Names of vLLM's internals that the executor uses. They fail here, by name, when an update changes them.

Each file lists its own in `VLLM_INTERNALS`: by class, attributes as `name`, methods as `name(parameters)`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

import pytest

import antiphon_executor

PACKAGE = Path(antiphon_executor.__file__).parent
SOURCES = {file: file.read_text(encoding="utf-8") for file in sorted(PACKAGE.rglob("*.py"))}
LISTING = [file for file, text in SOURCES.items() if "\nVLLM_INTERNALS = {" in text]


def name_of(file: Path) -> str:
    return ".".join(("antiphon_executor", *file.relative_to(PACKAGE).with_suffix("").parts))


def listed(file: Path) -> Iterator[tuple[type, str]]:
    internals: dict[str, tuple[str, ...]] = importlib.import_module(name_of(file)).VLLM_INTERNALS
    for owner, names in internals.items():
        module, _, kind = owner.rpartition(".")
        for name in names:
            yield resolve_name(f"{module}:{kind}"), name


@cache
def instance_attributes(kind: type) -> frozenset[str]:
    """Names that a class or its bases annotate, or assign to `self`."""
    found: set[str] = set()
    for base in kind.__mro__:
        found |= set(inspect.get_annotations(base))
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        found |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
    return frozenset(found)


def parameters(kind: type, method: str) -> list[str]:
    attribute = getattr(kind, method)
    return [name for name in inspect.signature(attribute).parameters if name != "self"]


@pytest.mark.parametrize("file", LISTING, ids=name_of)
def test_vllm_has_every_internal_that_the_file_lists(file: Path) -> None:
    changed = []
    for kind, listed_name in listed(file):
        name, has_parameters, rest = listed_name.partition("(")
        if not hasattr(kind, name) and name not in instance_attributes(kind):
            changed.append(f"{kind.__name__}.{name} is gone")
        elif has_parameters and (now := parameters(kind, name)) != [
            part for part in rest.removesuffix(")").split(", ") if part
        ]:
            changed.append(f"{kind.__name__}.{name} now has the parameters {', '.join(now)}")
    assert not changed


def defined_names() -> set[str]:
    """Every name that the executor itself defines."""
    found: set[str] = set()
    for text in SOURCES.values():
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)) | ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store()):
                    found.add(name)
    return found


# Public although they begin with an underscore: namedtuple's method, and a constant of transformers.
NOT_VLLMS = {"_replace", "_defaults"}


def test_every_private_name_of_vllm_is_listed_by_the_file_that_uses_it() -> None:
    own, missing = defined_names() | NOT_VLLMS, []
    for file, text in SOURCES.items():
        if "vllm" not in text:
            continue
        names = {name.partition("(")[0] for _, name in listed(file)} if file in LISTING else set()
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
            ):
                called_on_super = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
                if (called_on_super or node.attr not in own) and node.attr not in names:
                    missing.append(f"{file.relative_to(PACKAGE)}:{node.lineno}: {node.attr}")
    assert not missing
