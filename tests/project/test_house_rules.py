"""What every file of the product keeps to, read off its syntax tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from tests.project.sources import PACKAGES, ROOT, Source, product, suite, tracked_texts

EVERY = product()
RUNS_BYTES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
VAGUE = re.compile(r"(^|_)(utils?|common|helpers?|misc|managers?|handlers?)$")


def offenders(found: list[str]) -> str:
    return "\n  ".join(["", *found])


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_the_product_is_found() -> None:
    assert {package for package, folder in PACKAGES.items() if any(folder.rglob("*.py"))} == set(PACKAGES)


@pytest.mark.parametrize("source", [*EVERY, *suite()], ids=lambda source: source.name)
def test_files_and_functions_can_be_read_at_a_sitting(source: Source) -> None:
    assert source.lines <= 400
    long = [
        f"{f.name}: {f.end_lineno - f.lineno + 1} lines"
        for f in source.functions()
        if f.end_lineno is not None and f.end_lineno - f.lineno >= 60
    ]
    assert not long, offenders(long)


@pytest.mark.parametrize("source", EVERY, ids=lambda source: source.name)
def test_a_module_opens_with_what_flows_in_and_out_in_six_lines(source: Source) -> None:
    if source.path.name == "__init__.py":
        return
    docstring = ast.get_docstring(source.tree, clean=False)
    assert docstring, "no module docstring"
    prose = [line for line in docstring.strip().splitlines() if not set(line) & set("├└│─")]
    assert len(prose) <= 6


def test_files_are_named_after_one_noun() -> None:
    vague = [name for name in tracked_texts() if VAGUE.search(PurePosixPath(name).name.partition(".")[0])]
    assert not vague, offenders(vague)


def test_the_server_knows_neither_torch_nor_vllm() -> None:
    for source in product("server"):
        for module in source.imports():
            assert module.top not in {"torch", "vllm", "transformers", "triton", "antiphon_kernels"}, (
                source.name
            )


def test_the_server_sees_engines_only_through_the_protocol() -> None:
    names = ("protocol", "capacity", "grammar_verdict", "media_geometry", "settings", "spoken_length")
    allowed = tuple(f"antiphon_executor.{name}" for name in names)
    wrong = [
        f"{source.name}: {module.module}"
        for source in product("server")
        for module in source.imports()
        if module.top == "antiphon_executor"
        and not (module.lazy or module.typing_only)
        and not module.module.startswith(allowed)
    ]
    assert not wrong, offenders(wrong)


def test_the_executor_knows_no_server_and_no_http() -> None:
    http = {"antiphon_server", "fastapi", "starlette", "uvicorn", "httpx"}
    wrong = [f"{s.name}: {m.module}" for s in product("executor") for m in s.imports() if m.top in http]
    assert not wrong, offenders(wrong)


def test_kernels_need_torch_and_triton_alone() -> None:
    allowed = {"torch", "triton", "antiphon_kernels", *sys.stdlib_module_names}
    wrong = [f"{s.name}: {m.module}" for s in product("kernels") for m in s.imports() if m.top not in allowed]
    assert not wrong, offenders(wrong)


def test_importing_the_application_loads_no_torch() -> None:
    heavy = "{'torch', 'vllm', 'transformers'}"
    script = f"import sys, antiphon_server.http.app; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("source", EVERY, ids=lambda source: source.name)
def test_nothing_that_runs_bytes_as_code(source: Source) -> None:
    imported = {module.top for module in source.imports()} & RUNS_BYTES
    assert not imported
    for call in source.calls():
        assert called(call) not in {"eval", "exec", "compile", "__import__", "torch.load"}, (
            f"line {call.lineno}"
        )
        trusting = [
            k for k in call.keywords if k.arg == "trust_remote_code" and ast.unparse(k.value) != "False"
        ]
        assert not trusting, f"line {call.lineno}"


@pytest.mark.parametrize("source", EVERY, ids=lambda source: source.name)
def test_the_wall_clock_only_stamps_what_a_client_reads(source: Source) -> None:
    clocks = ("time.time()", "datetime.now(", "datetime.utcnow(", "time.time_ns()")
    stamps = re.compile(r"created|expires_at|_unix_s|strftime_now")
    lines = source.text.splitlines()
    wrong = [
        f"{source.name}:{call.lineno}"
        for call in source.calls()
        if ast.unparse(call).startswith(clocks) and not _inside(source.tree, call, stamps, lines)
    ]
    assert not wrong, offenders(wrong)


def _inside(tree: ast.Module, call: ast.Call, stamps: re.Pattern[str], lines: list[str]) -> bool:
    """Whether the call's line, or the function around it, is named after such a stamp."""
    around = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= call.lineno <= (node.end_lineno or node.lineno)
    ]
    return any(stamps.search(text) for text in [lines[call.lineno - 1], *around])


@pytest.mark.parametrize("source", EVERY, ids=lambda source: source.name)
def test_errors_are_caught_by_name_and_input_is_not_asserted(source: Source) -> None:
    bare = [
        node.lineno
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare, f"bare except in lines {bare}"
    if source.path.is_relative_to(PACKAGES["server"]):
        asserts = [node for node in ast.walk(source.tree) if isinstance(node, ast.Assert)]
        unknown = [node.lineno for node in asserts if not ast.unparse(node.test).endswith("is not None")]
        assert not unknown, f"assert in lines {unknown}, and not only to narrow an optional type"


def test_no_registry_and_no_machine_is_named() -> None:
    # The one index that may be named is PyTorch's own: the CPU build of torch is nowhere else.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs.org", "deb." + "debian.org"]
    hosts += ["npm" + "js.com", "proxy." + "golang.org"]
    paths = ["/wo" + "rk/", "/ro" + "ot/", "/opt/" + "wheels", "/opt/" + "pypi"]
    wrong = [
        f"{name}: {word}"
        for name, text in tracked_texts().items()
        for word in [*hosts, *paths]
        if word in text
    ]
    assert not wrong, offenders(wrong)
