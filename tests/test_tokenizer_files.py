"""A checkpoint without `tokenizer.json` gets one: the same ids, built once, outside its folder."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import regex  # type: ignore[import-untyped]
from tokenizers import Regex, Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoTokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from vllm.transformers_utils.config import get_config

from antiphon_executor.interface import tokenizer_files
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.interface.tokenizer_files import FILE, TokenizerError, tokenizer_file, tokenizer_folder
from antiphon_executor.stages.thinker_args import thinker_engine_args
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.chat.prompt.tokenizer import PromptTokenizer
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_omni  # noqa: F401

TEXTS = (
    "Hello world, how are you? I'm fine; they've said it'll do. WE'LL SEE, DON'T WORRY!",
    "Größe, naïve, façade, São Paulo, Ærøskøbing, straße; e\u0301 is not é until NFC",
    "你好，世界！今天天气怎么样？ 日本語のテキスト、カタカナとひらがな。 안녕하세요 세계",
    "Привет, мир! Γειά σου Κόσμε. שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก",
    "🎈🎉 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ 👍🏽 \U0001f9d1\u200d\U0001f680",
    "def f(x: int) -> str:\n\treturn f'{x!r:>8}'  # comment\n\n\nif __name__ == \"__main__\":\n    f(1)\n",
    '<div class="a">&amp;</div>\n{"key": [1, 2.5e-3, null]}\r\nSELECT * FROM t WHERE a<=1;\\n',
    "3.14159265358979323846264338327950288419716939937510 1234567890123456789012345678901234567890",
    " leading, trailing \t tabs\t\t and   runs    of     spaces \n\n \n   \r\n \u00a0\u2003 end  ",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nYes<|im_end|>",
    "<tool_call>\n{}\n</tool_call><|audio_start|><|audio_pad|><|audio_end|><tts_pad><|endoftext|>",
    "<|im_start |> <|im_startx|> <im_end> <|<|im_end|>|> think> a<|im_end|>b  <|im_end|>  c",
    "\x00\x07 \ufeff \u200b zero\u0000bytes \ud7ff \uffff",
    "",
)


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "antiphon" / "tokenizers"


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("built"))


@pytest.fixture
def shared_cache(built_once: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for the tests that read a built tokenizer: each build is a process that computes a second."""
    monkeypatch.setenv("XDG_CACHE_HOME", built_once)


@pytest.fixture
def quick_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the folders: what is built is empty."""

    def build(model: Path, folder: Path) -> None:
        (folder / FILE).write_text("{}")

    monkeypatch.setattr(tokenizer_files, "_run_builder", build)


@pytest.fixture
def taught(released_qwen3_omni: Path, tmp_path: Path) -> Path:  # noqa: F811
    """The text side of a released checkpoint, with a vocabulary of thousands of tokens."""
    folder = tmp_path / "taught"
    folder.mkdir()
    for name in ("tokenizer_config.json", "config.json"):
        shutil.copy(released_qwen3_omni / name, folder)
    tokenizer = Tokenizer(BPE())
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=4_000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    root = Path(__file__).parents[1]
    lines = (root / "README.md", root / "deploy/OPERATING.md", Path(__file__))
    tokenizer.train_from_iterator([file.read_text() for file in lines] + [*TEXTS] * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    merges = "".join(f"{first} {second}\n" for first, second in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    added = config["added_tokens_decoder"].values()
    config["added_tokens_decoder"] = {
        str(len(model["vocab"]) + number): token for number, token in enumerate(added)
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


class PlainBpe:
    """Byte-level BPE as published with GPT-2, with Qwen's pattern and NFC, in plain Python."""

    def __init__(self, folder: Path) -> None:
        self._ids = json.loads((folder / "vocab.json").read_text())
        lines = (folder / "merges.txt").read_text().split("\n")[1:-1]
        self._ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(lines)}
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        hidden = [byte for byte in range(256) if byte not in printable]
        self._letters = {byte: chr(byte) for byte in printable} | {
            byte: chr(256 + number) for number, byte in enumerate(hidden)
        }
        added = json.loads((folder / "tokenizer_config.json").read_text())["added_tokens_decoder"]
        self._added = {token["content"]: int(number) for number, token in added.items()}
        self._cut = regex.compile("(" + "|".join(map(regex.escape, sorted(self._added, key=len)[::-1])) + ")")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self._cut.split(text):
            if piece in self._added:
                ids.append(self._added[piece])
                continue
            for word in regex.findall(PRETOKENIZE_REGEX, unicodedata.normalize("NFC", piece)):
                letters = "".join(self._letters[byte] for byte in word.encode())
                ids += [self._ids[token] for token in self._merge(letters)]
        return ids

    @cache  # noqa: B019
    def _merge(self, letters: str) -> tuple[str, ...]:
        tokens = tuple(letters)
        while len(tokens) > 1:
            pairs = list(itertools.pairwise(tokens))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged, rest = [], list(tokens)
            while rest:
                taken = 2 if tuple(rest[:2]) == best else 1
                merged.append("".join(rest[:taken]))
                rest = rest[taken:]
            tokens = tuple(merged)
        return tokens


def test_ids_equal_transformers_and_a_plain_implementation(taught: Path) -> None:
    built = Tokenizer.from_file(str(tokenizer_file(taught)))
    theirs, plain = AutoTokenizer.from_pretrained(taught), PlainBpe(taught)
    from_built = AutoTokenizer.from_pretrained(tokenizer_folder(taught))
    for text in TEXTS:
        ids = built.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text, add_special_tokens=False), text
        assert ids == plain.encode(text), text
        assert from_built.encode(text) == ids


@pytest.mark.usefixtures("shared_cache")
def test_ids_equal_those_of_the_same_model_with_a_tokenizer_json(
    released_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_omni: Path,  # noqa: F811
) -> None:
    folders = (released_qwen3_omni, tiny_qwen3_omni)
    built, saved = (Tokenizer.from_file(str(tokenizer_file(folder))) for folder in folders)
    for text in TEXTS:
        assert built.encode(text).ids == saved.encode(text).ids
    ours, theirs = map(PromptTokenizer.from_folder, folders)
    assert ours.controls == theirs.controls


def test_a_checkpoint_with_a_tokenizer_json_keeps_it(tiny_qwen3_omni: Path, cache_home: Path) -> None:  # noqa: F811
    assert tokenizer_folder(tiny_qwen3_omni) == tiny_qwen3_omni
    assert not cache_home.exists()


def test_it_is_built_once_and_not_in_the_checkpoint(
    released_qwen3_omni: Path,  # noqa: F811
    cache_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tokenizer_files.tempfile, "gettempdir", lambda: str(temporary))
    before = sorted(released_qwen3_omni.iterdir())
    folder = tokenizer_folder(released_qwen3_omni)
    assert folder.parent == cache_home
    assert list(cache_home.iterdir()) == [folder]
    assert sorted(released_qwen3_omni.iterdir()) == before
    assert not list(temporary.iterdir())
    monkeypatch.setattr(tokenizer_files, "_run_builder", None)
    assert tokenizer_folder(released_qwen3_omni) == folder


@pytest.mark.usefixtures("shared_cache")
def test_the_thinkers_engine_gets_the_built_tokenizer(released_qwen3_omni: Path) -> None:  # noqa: F811
    settings = EngineSettings(model=released_qwen3_omni)
    assert thinker_engine_args(settings, None).tokenizer == str(tokenizer_folder(released_qwen3_omni))


@pytest.mark.usefixtures("shared_cache")
def test_vllm_finds_the_models_type_beside_the_tokenizer(released_qwen3_omni: Path) -> None:  # noqa: F811
    """Without it each engine waits two seconds at its start."""
    folder = tokenizer_folder(released_qwen3_omni)
    assert get_config(folder, trust_remote_code=False).model_type == "qwen3_omni_moe"


@pytest.mark.usefixtures("quick_builder")
def test_other_content_gets_another_tokenizer(taught: Path) -> None:
    first = tokenizer_folder(taught)
    config = json.loads((taught / "tokenizer_config.json").read_text())
    config["pad_token"] = "<|im_start|>"
    (taught / "tokenizer_config.json").write_text(json.dumps(config))
    assert tokenizer_folder(taught) != first


def test_processes_may_build_at_the_same_time(released_qwen3_omni: Path, cache_home: Path) -> None:  # noqa: F811
    code = (
        "import sys; from pathlib import Path; from antiphon_executor.interface.tokenizer_files import *; "
        "print(tokenizer_folder(Path(sys.argv[1])))"
    )

    def run(_: int) -> str:
        command = [sys.executable, "-c", code, str(released_qwen3_omni)]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ
        ).stdout.strip()

    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(run, range(2)))
    assert folders == {str(folder) for folder in cache_home.iterdir()}
    assert len(folders) == 1


@pytest.mark.usefixtures("quick_builder")
def test_without_a_cache_of_the_user_the_temporary_folder_holds_it(
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tokenizer_files.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tokenizer_folder(released_qwen3_omni)
    shared = tmp_path / f"antiphon-cache-{os.getuid()}"
    assert folder.is_relative_to(shared)
    assert shared.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder)
    shared.chmod(0o777)
    with pytest.raises(TokenizerError, match="no folder can hold the tokenizer"):
        tokenizer_folder(released_qwen3_omni)


def test_unusable_sources_are_one_line(taught: Path, cache_home: Path) -> None:
    (taught / "merges.txt").write_text("#version: 0.2\nthere is no such merge\n")
    with pytest.raises(TokenizerError, match=r"no tokenizer.json can be built from vocab.json") as raised:
        tokenizer_folder(taught)
    assert "\n" not in str(raised.value)
    assert list(cache_home.iterdir()) == []


def test_a_folder_without_any_tokenizer_is_left_to_its_reader(tmp_path: Path) -> None:
    assert tokenizer_file(tmp_path) == tmp_path / FILE


@pytest.mark.parametrize("lacks", ["vocab.json", "merges.txt"])
def test_nothing_is_built_from_half_of_the_files(taught: Path, lacks: str) -> None:
    (taught / lacks).unlink()
    assert tokenizer_folder(taught) == taught


@pytest.mark.usefixtures("shared_cache")
def test_a_tokenizer_without_its_added_tokens_is_refused(
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """As after a download without `tokenizer_config.json`: its prompts would be plain text throughout."""
    folder = shutil.copytree(released_qwen3_omni, tmp_path / "model")
    PromptRenderer.from_folder(folder)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=r"im_end_token_id of config.json is \d+, which is no added token"):
        PromptRenderer.from_folder(folder)
