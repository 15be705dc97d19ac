"""The environments of the real clients: one each under `.cache/conformance`, installed once, from its lock.

The tests of a client that cannot be installed are skipped (in CI a failure: ANTIPHON_NO_SKIPS).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).parent / "locks"
SCRIPTS = Path(__file__).parent / "clients"
_INSTALL_S = 600


class CannotInstall(Exception):
    """What the package manager said."""


@dataclass(frozen=True)
class Home:
    """`requires`: what its lock is made of, as its package manager wants it. Empty: the server's own.

    `never`: what it asks for and does not need. `python`: an interpreter with its packages beside its own.
    """

    name: str
    requires: tuple[str, ...] = ()
    is_node: bool = False
    never: tuple[str, ...] = ()
    python: str | None = None

    @property
    def folder(self) -> Path:
        return ROOT / ".cache" / "conformance" / self.name

    @property
    def locks(self) -> tuple[Path, ...]:
        """Python: one file with hashes. Node: a folder with the two files that npm wants."""
        if self.is_node:
            return (LOCKS / self.name / "package.json", LOCKS / self.name / "package-lock.json")
        return (LOCKS / f"{self.name}.txt",) if self.requires else ()

    def command(self, script: str, *arguments: str) -> list[str]:
        own = str(self.folder / "bin" / "python") if self.requires else sys.executable
        return ["node" if self.is_node else self.python or own, str(SCRIPTS / script), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """Scripts import what they share from their common folder, and nothing of the tests."""
        beside = map(str, self.folder.glob("lib/python3*/site-packages")) if self.python else ()
        own = {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), *beside]), "NODE_HOME": str(self.folder)}
        return {**os.environ, **own, **more}

    def install(self) -> None:
        """Install once, also if several processes of the tests ask. Raises CannotInstall."""
        if not self.requires:
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._install()

    def _install(self) -> None:
        """A stamp says from which lock it was installed."""
        stamp = self.folder / "installed"
        lock = sha256(b"".join(file.read_bytes() for file in self.locks)).hexdigest()
        if stamp.is_file() and stamp.read_text() == lock:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for command in self._node_commands() if self.is_node else self._python_commands():
            _run(command, self.folder)
        stamp.write_text(lock)

    def _python_commands(self) -> list[list[str]]:
        pip = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python"), "install"]
        exact = ["--quiet", "--no-compile", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        venv = [sys.executable, "-m", "venv", "--without-pip", str(self.folder)]
        return [venv, [*pip, *exact, "-r", str(self.locks[0])]]

    def _node_commands(self) -> list[list[str]]:
        copied = [shutil.copy(file, self.folder) for file in self.locks]
        assert copied
        return [["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]]


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise CannotInstall(f"{command[0]} is not on this machine")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_S, check=False, cwd=folder
    )
    if done.returncode != 0:
        raise CannotInstall(f"{command[0]}: {done.stderr.strip()[-300:]}")


OWN = Home("own")
OPENAI_3 = Home("openai-python-3", ("openai>=3,<4",))
OPENAI_2 = Home("openai-python-2", ("openai>=2,<3",))
OPENAI_NODE = Home("openai-node", ("openai@7.55.0",), is_node=True)
REALTIME_NODE = Home(
    "realtime-node",
    ("openai@7.59.0", "@openai/agents-realtime@0.20.0", "ws@8.23.0", "zod@4.6.7"),
    is_node=True,
)
# What checks the page: the types of its scripts, and its accessibility.
PAGE_TOOLS = Home("page-tools", ("typescript@7.0.2", "axe-core@4.14.1"), is_node=True)
VERCEL = Home("vercel-ai", ("ai@7.0.173", "@ai-sdk/openai@4.0.118"), is_node=True)
LITELLM = Home("litellm", ("litellm",))
LITELLM_PROXY = Home("litellm-proxy", ("litellm[proxy]",))
LLM = Home("llm", ("llm",))
LANGCHAIN = Home("langchain", ("langchain-openai",))
INSTRUCTOR = Home("instructor", ("instructor",))
PYDANTIC_AI = Home("pydantic-ai", ("pydantic-ai-slim[openai]",))
OPENAI_AGENTS = Home("openai-agents", ("openai-agents",))
LIVEKIT = Home("livekit", ("livekit-agents[openai]",))
# docopt, which has no wheel, is for a command of num2words.
PIPECAT = Home("pipecat", ("pipecat-ai[openai]",), never=("docopt",))
AIPERF = Home("aiperf", ("aiperf",))
# It loads torch, of which its package index has only the CUDA build (3 GB): the server's own serves it.
GUIDELLM = Home("guidellm", ("guidellm",), never=("torch", "numpy"), python=sys.executable)
# What `vllm bench serve` needs for recordings and the server's environment lacks.
VLLM_BENCH = Home("vllm-bench", ("pandas", "soundfile"), never=("numpy",), python=sys.executable)
# Helm's library and the schemas of Kubernetes, of KEDA and of the Prometheus operator.
KUBERNETES = Home("kubernetes", ("kubernetes-validate", "helm-python-sdk"))
KUBERNETES_MODELS = Home(
    "kubernetes-models",
    ("@kubernetes-models/keda@2.0.0", "@kubernetes-models/prometheus-operator@6.0.0"),
    is_node=True,
)
RAY = Home("ray", ("ray[serve]",))
# Looks for bytes that a parser of the server does not expect, beside the server's own packages.
ATHERIS = Home("atheris", ("atheris",), python=sys.executable)

HOMES = (
    OPENAI_3,
    OPENAI_2,
    OPENAI_NODE,
    REALTIME_NODE,
    PAGE_TOOLS,
    VERCEL,
    LITELLM,
    LITELLM_PROXY,
    LLM,
    LANGCHAIN,
    INSTRUCTOR,
    PYDANTIC_AI,
    OPENAI_AGENTS,
    LIVEKIT,
    PIPECAT,
    AIPERF,
    GUIDELLM,
    VLLM_BENCH,
    KUBERNETES,
    KUBERNETES_MODELS,
    RAY,
    ATHERIS,
)
# What `make test` uses.
TESTED = (
    OPENAI_3,
    OPENAI_2,
    OPENAI_NODE,
    REALTIME_NODE,
    PAGE_TOOLS,
    VERCEL,
    LITELLM,
    PYDANTIC_AI,
    OPENAI_AGENTS,
    KUBERNETES,
    KUBERNETES_MODELS,
    RAY,
)


def install_tested() -> list[str]:
    """Two at a time, as they unpack and wait in turn. Why those that fail cannot be installed."""

    def trouble(home: Home) -> str | None:
        try:
            home.install()
        except (CannotInstall, subprocess.TimeoutExpired) as error:
            return f"{home.name}: {error}"
        return None

    with ThreadPoolExecutor(2) as pool:
        return [found for found in pool.map(trouble, TESTED) if found is not None]


if __name__ == "__main__":
    for line in install_tested():
        print(f"  not installed: {line}")
