"""Words to rows."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import TextSpec
from lumiere_core.model.text import PAD, UNKNOWN, TextEncoder, Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(("a", "balloon", "don't", "red"), rows=32)


@pytest.fixture(scope="module")
def encoder(tiny_spec, randomise) -> TextEncoder:
    return randomise(TextEncoder(tiny_spec.text))


@pytest.mark.parametrize("prompt", ["", "red", "a red balloon", "word " * 100])
def test_every_prompt_is_32_rows(tokenizer, encoder, prompt):
    assert len(tokenizer(prompt).ids) == 32
    rows = encoder.encode([prompt])
    assert rows.shape == (1, 32, 32)  # the encoded row, then the word's own embedding
    known = torch.tensor(tokenizer(prompt).ids) != PAD
    assert not rows[0, ~known, 16:].any()
    assert rows[0, known, 16:].abs().amin(dim=1).gt(0).all() if known.any() else True


def test_an_empty_prompt_is_padding_and_nothing_to_remark(tokenizer):
    tokens = tokenizer("  ")
    assert set(tokens.ids) == {PAD}
    assert (tokens.unknown, tokens.dropped, tokens.remark) == ((), 0, "")


def test_words_are_read_in_order_whatever_their_case_and_commas(tokenizer):
    assert tokenizer("A RED, balloon!").ids[:4] == (2, 5, 3, PAD)
    assert tokenizer("don't").ids[0] == 4


def test_a_word_the_model_does_not_know_is_named_once(tokenizer):
    tokens = tokenizer("a red zebra, a Zebra and an OX")
    assert tokens.unknown == ("zebra", "and", "an", "ox")
    assert UNKNOWN not in tokens.ids
    assert tokens.remark == "The model does not know: zebra, and, an, ox."


def test_a_word_the_model_does_not_know_changes_nothing(tokenizer):
    assert tokenizer("a big red and shiny balloon").ids == tokenizer("a red balloon").ids


def test_words_of_any_script_can_be_unknown(tokenizer):
    assert tokenizer("ein roter Ballon über \u6d77").unknown == ("ein", "roter", "ballon", "über", "\u6d77")


def test_words_past_the_last_row_are_cut_and_counted(tokenizer):
    tokens = tokenizer("a " * 32 + "red balloon zebra")
    assert tokens.dropped == 2
    assert tokens.ids == tokenizer("a " * 32).ids
    assert tokens.remark == (
        "The model does not know: zebra; it reads 32 words, so the last 2 were left out."
    )


def test_both_remarks_make_one_sentence(tokenizer):
    assert tokenizer("zebra " + "a " * 33).remark == (
        "The model does not know: zebra; it reads 32 words, so the last 1 were left out."
    )


def test_32_words_are_not_too_many(tokenizer):
    assert tokenizer("a " * 32).dropped == 0


def test_the_same_prompt_gives_the_same_rows_alone_and_in_company(encoder):
    alone = encoder.encode(["a red balloon"])
    assert torch.equal(alone, encoder.encode(["a red balloon"]))
    torch.testing.assert_close(encoder.encode(["the sea", "a red balloon"])[1:], alone, atol=1e-5, rtol=1e-5)


def test_words_and_their_order_both_matter(encoder):
    a, b, c = encoder.encode(["red balloon", "balloon red", "blue balloon"])
    assert not torch.allclose(a, b, atol=1e-3) and not torch.allclose(a, c, atol=1e-3)


def test_a_word_changes_every_row(encoder):
    """There is no mask: what follows, padding too, knows what stands before it."""
    a, b = encoder.encode(["red", "blue"])
    assert ((a - b).abs().amax(1) > 1e-4).all()


def test_an_encoder_has_a_row_for_padding_and_one_for_the_unknown():
    assert TextEncoder(TextSpec(vocabulary=("x", "y", "z"), width=8, heads=2)).words.weight.shape == (5, 8)
