"""House rules that ruff, mypy and import-linter do not check: one test a rule, which lists all offenders."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import PurePosixPath

from tests.project.sources import PACKAGES, ROOT, product, suite, tracked_texts

VAGUE = re.compile(r"(^|_)(utils?|common|helpers?|misc|managers?|handlers?)$")
REQUIREMENT = re.compile(r"\bR\d{1,2}\b")


def none_of(offenders: list[str]) -> None:
    assert not offenders, "\n  ".join(["", *offenders])


def test_the_product_is_found() -> None:
    assert {package for package, folder in PACKAGES.items() if any(folder.rglob("*.py"))} == set(PACKAGES)


def test_a_file_has_at_most_400_lines() -> None:
    none_of([f"{one.name}: {one.lines} lines" for one in (*product(), *suite()) if one.lines > 400])


def test_a_function_has_at_most_60_lines() -> None:
    none_of(
        [
            f"{one.name}:{f.lineno} {f.name}: {f.end_lineno - f.lineno + 1} lines"
            for one in (*product(), *suite())
            for f in one.functions()
            if f.end_lineno is not None and f.end_lineno - f.lineno >= 60
        ]
    )


def test_a_folder_has_at_most_16_modules() -> None:
    folders = Counter(one.path.parent for one in product() if one.path.name != "__init__.py")
    none_of([f"{folder.relative_to(ROOT)}: {n} modules" for folder, n in folders.items() if n > 16])


def test_files_are_named_after_one_noun() -> None:
    none_of([name for name in tracked_texts() if VAGUE.search(PurePosixPath(name).name.partition(".")[0])])


def test_kernels_import_torch_and_triton_alone() -> None:
    allowed = {"torch", "triton", "antiphon_kernels", *sys.stdlib_module_names}
    none_of(
        [
            f"{one.name}: {module}"
            for one in product("kernels")
            for module in one.imports()
            if module.partition(".")[0] not in allowed
        ]
    )


def test_importing_the_application_loads_no_torch() -> None:
    heavy = "{'torch', 'vllm', 'transformers'}"
    script = f"import sys, antiphon_server.http.app; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


def test_remote_code_is_never_trusted() -> None:
    none_of(
        [
            f"{one.name}:{call.lineno}"
            for one in product()
            for call in ast.walk(one.tree)
            if isinstance(call, ast.Call)
            for keyword in call.keywords
            if keyword.arg == "trust_remote_code" and ast.unparse(keyword.value) != "False"
        ]
    )


def test_tests_carry_requirement_ids_as_markers_and_nothing_else_names_them() -> None:
    none_of(
        [
            f"{one.name}:{number}"
            for one in suite()
            for number, line in enumerate(one.text.splitlines(), 1)
            if REQUIREMENT.search(line) and "mark.promise(" not in line
        ]
    )


def test_no_registry_and_no_machine_is_named() -> None:
    # The one index that may be named is PyTorch's own: the CPU build of torch is nowhere else.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs.org", "deb." + "debian.org"]
    hosts += ["npm" + "js.com", "proxy." + "golang.org"]
    paths = ["/wo" + "rk/", "/ro" + "ot/", "/opt/" + "wheels", "/opt/" + "pypi"]
    texts = tracked_texts().items()
    none_of([f"{name}: {word}" for name, text in texts for word in [*hosts, *paths] if word in text])


def test_no_test_gives_up_before_a_busy_machine_has_done_it() -> None:
    """A limit on what must happen only ends a test that hangs. A promised time uses `tests.machine`."""
    none_of(
        [
            f"{one.name}:{call.lineno} {ast.unparse(call)}"
            for one in suite()
            if not one.name.startswith(("tests/bench/", "tests/chaos/"))
            for call in ast.walk(one.tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "asyncio.wait_for"
            for limit in [*call.args[1:], *(keyword.value for keyword in call.keywords)]
            if isinstance(limit, ast.Constant) and limit.value < 30
        ]
    )
