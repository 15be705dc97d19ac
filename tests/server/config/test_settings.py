"""Settings: the order of their sources, the origin of each value, and errors of one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_server.cli.config import as_json, as_lines_with_origin, schema
from antiphon_server.config.flags import add_settings, setting_fields
from antiphon_server.config.long_media import LONG_MEDIA
from antiphon_server.config.parser import FlagParser
from antiphon_server.config.settings import Settings
from antiphon_server.config.sources import SHORT_NAMES, ConfigError, leaves, load
from antiphon_server.media.policy import MediaPolicy, flag
from antiphon_server.process.preflight import check_model

KEY = "canary-key-7f3a"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)


def parse(*argv: str) -> dict[str, object]:
    parser = FlagParser("antiphon serve", "")
    add_settings(parser)
    return dict(parser.parse(argv).settings)


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "antiphon.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_override_the_environment_which_overrides_the_file_which_overrides_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = yaml_file(
        tmp_path, "server: {port: 1, host: localhost, limits: {json_depth: 9}}\nengine: {model: /m}\n"
    )
    monkeypatch.setenv("ANTIPHON_SERVER__PORT", "2")
    monkeypatch.setenv("ANTIPHON_SERVER__LIMITS__QUEUED_TURNS", "7")
    loaded = load(parse("--port", "3"), file)
    server = loaded.settings.server
    assert (server.port, server.host, server.limits.json_depth, server.limits.queued_turns) == (
        3,
        "localhost",
        9,
        7,
    )
    assert server.limits.body_bytes == Settings.model_fields["server"].default.limits.body_bytes
    assert loaded.origins["server.port"] == "flag"
    assert loaded.origins["server.host"] == str(file)
    assert loaded.origins["server.limits.queued_turns"] == "ANTIPHON_SERVER__LIMITS__QUEUED_TURNS"
    assert "server.limits.body_bytes" not in loaded.origins


def test_short_variables_are_named_like_the_short_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_MODEL", "/m")
    monkeypatch.setenv("ANTIPHON_MAX_NUM_SEQS", "4")
    monkeypatch.setenv("ANTIPHON_ALLOWED_MEDIA_DOMAINS", "a.example, b.example")
    loaded = load({})
    assert loaded.settings.engine.model == Path("/m")
    assert loaded.settings.engine.thinker.max_num_seqs == 4
    assert loaded.settings.media.fetch_hosts == ("a.example", "b.example")
    assert loaded.origins["engine.model"] == "ANTIPHON_MODEL"


def test_the_packaged_model_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_MODEL", "")
    loaded = load({})
    assert loaded.settings.engine.model == ANTIPHON_NANO
    assert "engine.model" not in loaded.origins
    check_model(ANTIPHON_NANO)


def test_a_kubernetes_service_of_our_name_does_not_set_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_PORT", "tcp://10.0.0.1:9000")
    loaded = load({"engine.model": "/m"})
    assert loaded.settings.server.port == 8000
    assert "server.port" not in loaded.origins


@pytest.mark.parametrize("short", sorted(SHORT_NAMES))
def test_every_short_name_stands_for_settings_that_exist(short: str) -> None:
    entry = SHORT_NAMES[short]
    assert set(entry.settings) <= {field.name for field in setting_fields()}
    assert len(entry.brief) <= 42


def test_vllms_flags_set_the_engines_that_they_concern() -> None:
    argv = ["--dtype", "float32", "--no-enable-prefix-caching", "--max-model-len", "4096", "--enforce-eager"]
    engine = load(parse("--model", "/m", *argv)).settings.engine
    assert (engine.thinker.dtype, engine.talker.dtype) == ("float32", "float32")
    assert (engine.thinker.enforce_eager, engine.talker.enforce_eager) == (True, True)
    assert engine.thinker.enable_prefix_caching is False
    assert engine.thinker.max_model_len == 4096


def test_every_setting_but_the_keys_has_a_flag_of_its_dotted_name() -> None:
    given = parse("--engine.talker.max-frames", "50", "--media-audio-seconds=9", "--no-engine.speech")
    assert given == {"engine.talker.max_frames": "50", "media.audio_seconds": "9", "engine.speech": False}
    with pytest.raises(SystemExit):
        parse("--server.api-keys", KEY)


@pytest.mark.parametrize("field", sorted(MediaPolicy.model_fields))
def test_the_flag_that_a_media_error_names_exists(field: str) -> None:
    switch = MediaPolicy.model_fields[field].annotation is bool
    values = [] if switch else [{"fetch_networks": "10.0.0.0/8"}.get(field, "1")]
    assert f"media.{field}" in parse(flag(field), *values)


def test_lists_take_words_or_commas() -> None:
    assert parse("--allowed-media-domains", "a,b", "c")["media.fetch_hosts"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"engine.model": "/m", "server.prt": 1}, ["no setting server.prt", "did you mean server.port?"]),
        ({"engine.model": "/m", "server.port": "99999"}, ["server.port", "65535", "from flag"]),
        ({"engine.model": "/m", "engine.thinker.dtype": "int4"}, ["engine.thinker.dtype", "bfloat16"]),
    ],
)
def test_an_invalid_setting_is_one_line_with_its_name(flags: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(flags)
    assert "\n" not in caught.value.args[0]
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("text", ["server: [", "- a\n- b\n", "server: {port: x}\nengine: {model: /m}"])
def test_the_error_names_an_invalid_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"antiphon\.yaml"):
        load({}, yaml_file(tmp_path, text))


def test_the_error_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load({}, tmp_path / "none.yaml")


def test_keys_come_from_the_environment_and_from_a_file_and_are_never_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# ours\n{KEY}-file\n\n", encoding="utf-8")
    monkeypatch.setenv("ANTIPHON_API_KEY", f"{KEY}-1,{KEY}-2")
    loaded = load(parse("--model", "/m", "--api-key-file", str(keys)))
    found = [key.get_secret_value() for key in loaded.settings.server.api_keys]
    given = (f"{KEY}-1", f"{KEY}-2", f"{KEY}-file")
    assert found == [hashlib.sha256(key.encode()).hexdigest() for key in given]
    shown = as_lines_with_origin(loaded) + as_json(loaded) + repr(loaded) + str(loaded.settings)
    assert KEY not in shown
    # Neither the keys nor their hashes.
    assert not any(one in shown for one in found)
    assert "server.api_keys = 3 hidden" in as_lines_with_origin(loaded)


@pytest.mark.parametrize("bad", [f"{KEY} with spaces", f"{KEY}\x07", "ü" + KEY])
def test_an_invalid_key_is_rejected_without_quoting_it(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("ANTIPHON_API_KEY", bad)
    with pytest.raises(ConfigError) as caught:
        load({"engine.model": "/m"})
    assert KEY not in str(caught.value)


def test_type_errors_around_the_keys_do_not_quote_them(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, f"engine: {{model: /m}}\nserver: {{api_keys: {{a: {KEY}}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load({}, file)
    assert KEY not in str(caught.value)


def test_an_empty_key_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no key"):
        load({"engine.model": "/m", "server.api_key_file": str(tmp_path / "keys")})


@pytest.mark.parametrize("how", ["flag", "environment", "file", "tier"])
def test_long_media_raises_its_limits_together_and_keeps_those_that_are_set(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: dict[str, Any] = {"media.audio_seconds": 900.0}
    file = tmp_path / "antiphon.yaml"
    file.write_text("media: {long: true}\n" if how == "file" else "{}\n")
    if how == "environment":
        monkeypatch.setenv("ANTIPHON_MEDIA__LONG", "true")
    flags |= {"flag": {"media.long": True}, "tier": {"tier": "plus"}}.get(how, {})
    loaded = load(flags, file)
    settings = loaded.settings
    assert settings.media.long
    assert settings.media.audio_seconds == 900.0
    assert loaded.origins["media.decode_s"] == "media.long"
    values = dict(leaves(settings.model_dump()))
    for name, value in LONG_MEDIA.items():
        assert name == "media.audio_seconds" or values[name] == value, name
    defaults = dict(leaves(Settings().model_dump()))
    assert all(value > defaults[name] for name, value in LONG_MEDIA.items())


def test_long_media_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_MEDIA__LONG", "true")
    assert load({"media.long": False}).settings.media.audio_seconds == 2_400.0


def test_the_settings_are_frozen() -> None:
    settings = load({"engine.model": "/m"}).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.server = settings.server  # type: ignore[misc]


def test_the_schema_describes_every_section() -> None:
    assert set(json.loads(schema())["properties"]) == set(Settings.model_fields)
