"""Tiers: the operator's settings override them, they override the defaults, and they set engines alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from antiphon_server.cli.config import as_lines_with_origin
from antiphon_server.config.sources import ConfigError, leaves, load
from antiphon_server.config.tier import TIERS, read_tier
from tests.project.sources import ROOT

FILES = ROOT / "deploy" / "tiers"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)


def test_the_file_overrides_a_tier_which_overrides_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "antiphon.yaml"
    file.write_text("tier: flash\nengine: {model: /m, talker: {streams: 5}}\n")
    loaded = load({"engine.thinker.max_num_seqs": 9}, file)
    engine = loaded.settings.engine
    assert (engine.thinker.max_num_seqs, engine.talker.streams) == (9, 5)
    assert engine.thinker.tensor_parallel_size == 2
    assert "engine.thinker.tensor_parallel_size = 2" in as_lines_with_origin(loaded)
    assert loaded.origins["engine.thinker.tensor_parallel_size"] == "tier flash"
    assert loaded.origins["engine.talker.streams"] == str(file)


def test_a_tier_can_be_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_TIER", "light")
    assert load({"engine.model": "/m"}).settings.engine.thinker.quantization == "fp8"


def test_an_unknown_tier_is_rejected() -> None:
    with pytest.raises(ConfigError, match="tier: input should be 'plus', 'flash', 'light' or 'nano'"):
        load({"engine.model": "/m", "tier": "../../etc/passwd"})


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_sets_only_engine_settings_and_long_media(tier: str) -> None:
    names = [name for name, _ in leaves(read_tier(tier)) if name != "media.long"]
    assert names
    assert all(name.startswith(("engine.thinker.", "engine.talker.")) for name in names)


def test_every_tier_has_a_file_and_a_section_of_its_page() -> None:
    assert {file.stem for file in FILES.glob("*.yaml")} == set(TIERS)
    page = (FILES / "README.md").read_text(encoding="utf-8")
    for tier in TIERS:
        assert f"## {tier}" in page
        assert read_tier(tier) == yaml.safe_load((FILES / f"{tier}.yaml").read_text(encoding="utf-8"))
