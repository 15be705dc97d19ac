"""The whole model: text, media and speech; training, saving and loading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.speech import family_sampling
from antiphon_executor.reference.talker import Utterance
from tests.reference import mini

Model = Qwen3_5OmniMoeForConditionalGeneration


@pytest.fixture(scope="module")
def model() -> Model:
    return mini.mini_model(seed=5)


def test_a_turn_of_every_modality_is_answered_in_text_and_sound(model: Model) -> None:
    answer = model.generate(
        mini.mini_prompt(), mini.mini_voice(), family_sampling(1), max_tokens=9, max_frames=20
    )
    assert 0 < len(answer.text_ids) <= 9
    frames = len(answer.speech.codes)
    assert frames >= len(answer.text_ids) // 4 * 4
    assert len(answer.waveform) == frames * 1920 - 555
    assert answer.waveform.std() > 0
    again = model.generate(
        mini.mini_prompt(), mini.mini_voice(), family_sampling(1), max_tokens=9, max_frames=20
    )
    assert torch.equal(again.waveform, answer.waveform)


@torch.no_grad()
def test_the_talker_reads_the_voice_then_the_users_media_and_text_then_the_header(model: Model) -> None:
    prompt, voice = mini.mini_prompt(), mini.mini_voice()
    rows = model.talker_rows(prompt, voice)
    ids = prompt.token_ids
    text = (
        (ids >= mini.VISION_END)
        | (ids == mini.AUDIO_START)
        | (ids == mini.AUDIO_END)
        | (ids == mini.VISION_START)
    )
    spoken_of = 3 + 2 + len(voice.codes) + 2
    assert len(rows) == spoken_of + int(text.sum()) + model.config.talker_config.max_media_rows + 2
    assert torch.equal(rows[:spoken_of], model.talker.voice_rows(voice))
    accepted = model.thinker(prompt).layers[2]
    first = int((ids == mini.AUDIO).nonzero()[0])
    expected = model.talker.hidden_projection(accepted[first])
    torch.testing.assert_close(rows[spoken_of + first], expected)
    assert torch.equal(rows[-2], model.talker.text_rows([mini.TTS_BOS])[0])
    assert torch.equal(rows[-1], model.talker.code_rows([mini.CODES + 1])[0])


@torch.no_grad()
def test_the_layout_of_public_ports_row_by_row() -> None:
    model, prompt, voice = mini.marked_model(seed=5), mini.mini_prompt(), mini.mini_voice()
    talker, ids, codes = model.talker, prompt.token_ids, mini.CODES
    rows = model.talker_rows(prompt, voice)
    opening, frames = len(voice.opening), len(voice.codes)
    at = opening + 1 + frames
    assert torch.equal(rows[:opening], talker.text_rows(voice.opening))
    assert torch.equal(rows[opening], talker.code_rows([codes + 1])[0])
    assert torch.equal(rows[opening + 1 : at], talker.frame_rows(torch.as_tensor(voice.codes)))
    assert torch.equal(rows[at], talker.code_rows([mini.EOS])[0])
    assert torch.equal(rows[at + 1 : at + 3], talker.text_rows(voice.closing))
    # nothink, think_bos, think_eos, tts_bos, codec_bos, behind the assistant's header.
    ends = [*talker.code_rows([codes + 7, codes + 8, codes + 9]), *talker.text_rows([mini.TTS_BOS])]
    torch.testing.assert_close(rows[-5:-1], torch.stack(ends))
    assert torch.equal(rows[-1], talker.code_rows([codes + 1])[0])
    assert torch.equal(rows[-8:-5], talker.text_rows(ids[-3:]))
    # Of the user's segment, the role tokens alone are text rows.
    user = rows[at + 3 : -8]
    assert torch.equal(user[:3], talker.text_rows(ids[:3]))
    accepted = model.thinker(prompt).layers[2]
    last = int((ids == mini.IM_START).nonzero()[-1]) - 1
    torch.testing.assert_close(user[-1], talker.hidden_projection(accepted[last]))
    torch.testing.assert_close(user[3], talker.hidden_projection(accepted[3]))


@torch.no_grad()
def test_a_voice_with_a_language_names_it_to_the_talker() -> None:
    model, codes = mini.marked_model(seed=5), mini.CODES
    rows = model.talker_rows(mini.mini_prompt(), replace(mini.mini_voice(), language="english"))
    spoken = model.talker.code_rows([codes + 6, codes + 8, codes + 10, codes + 9])
    torch.testing.assert_close(rows[-6:-2], spoken)
    with pytest.raises(ValueError, match="no language 'dutch'; languages: english"):
        model.talker_rows(mini.mini_prompt(), replace(mini.mini_voice(), language="dutch"))


def test_a_loss_reaches_every_parameter() -> None:
    model = mini.mini_model(seed=6)
    prompt, codes = mini.mini_prompt(), torch.randint(mini.CODES, (40, mini.GROUPS))
    text = [*range(mini.DIGITS, mini.DIGITS + 20), mini.TTS_EOS]
    (speech,) = model.talker([Utterance(model.talker_rows(prompt, mini.mini_voice()), text, codes)])
    targets = torch.cat((codes[:, 0], torch.tensor([mini.EOS])))
    loss = functional.cross_entropy(model.thinker(prompt).logits[:-1], prompt.token_ids[1:])
    loss = loss + functional.cross_entropy(speech.code0, targets)
    loss = loss + functional.cross_entropy(speech.residual.flatten(0, 1), codes[:, 1:].flatten())
    loss = loss + model.waveform(codes).square().mean()
    loss.backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_a_loss_on_the_speech_reaches_what_was_heard_and_seen() -> None:
    model = mini.mini_model(seed=6)
    model.talker_rows(mini.mini_prompt(), mini.mini_voice()).square().sum().backward()
    thinker = model.thinker
    for part in (
        thinker.audio_tower.conv2d1,
        thinker.visual.patch_embed.proj,
        thinker.model.layers[1].mlp.gate,
    ):
        assert part.weight.grad.abs().sum() > 0
    assert thinker.model.layers[2].mlp.gate.weight.grad is None, "a layer above the accepted one"


def test_steps_down_the_gradient_lower_the_loss() -> None:
    """Twenty steps on one utterance: the Talker learns to say it, which is what training a model asks for."""
    talker = mini.mini_model(seed=8).talker
    codes = torch.randint(mini.CODES, (12, mini.GROUPS), generator=torch.Generator().manual_seed(0))
    targets = torch.cat((codes[:, 0], torch.tensor([mini.EOS])))
    optimizer = torch.optim.Adam(talker.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        rows = talker.voice_rows(mini.mini_voice())
        (logits,) = talker([Utterance(rows, [30, 31, 32, 33, 34, mini.TTS_EOS], codes)])
        loss = functional.cross_entropy(logits.code0, targets)
        loss = loss + functional.cross_entropy(logits.residual.flatten(0, 1), codes[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("talker_text", [mini.MOE, mini.DENSE], ids=["MoE", "dense"])
def test_a_saved_model_is_loaded_as_it_was(talker_text: dict[str, object], tmp_path: Path) -> None:
    model = mini.mini_model(seed=9, talker_text=talker_text)
    model.save_pretrained(tmp_path)
    loaded, told = Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    expected = dict(model.named_parameters()) | dict(model.named_buffers())
    found = dict(loaded.named_parameters()) | dict(loaded.named_buffers())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    prompt = mini.mini_prompt()
    with torch.no_grad():
        logits = model.thinker(prompt).logits
        torch.testing.assert_close(loaded.thinker(prompt).logits, logits, rtol=1e-4, atol=1e-4)


def test_tensors_have_the_names_of_the_open_models(model: Model) -> None:
    names = set(model.state_dict())
    assert {
        "thinker.model.layers.0.linear_attn.in_proj_qkv.weight",
        "thinker.model.layers.3.self_attn.q_norm.weight",
        "thinker.model.layers.0.mlp.experts.gate_up_proj",
        "thinker.audio_tower.conv2d4.weight",
        "thinker.audio_tower.layers.0.self_attn.q_proj.weight",
        "thinker.visual.blocks.0.attn.qkv.weight",
        "thinker.lm_head.weight",
        "talker.model.embed_tokens.weight",
        "talker.model.codec_embedding.weight",
        "talker.hidden_projection.weight",
        "talker.codec_head.weight",
        "talker.code_predictor.model.codec_embedding.2.weight",
        "talker.code_predictor.small_to_mtp_projection.weight",
        "code2wav.decoder.1.block.1.conv.weight",
    } <= names
