"""The small language of the mini models."""

import random

import pytest

from dreamlift.priors.picture_words import filled
from dreamlift.training.objects import COLOURS, random_object
from dreamlift.training.prompts import SAID, describe, parse_prompt, template_of, templates, unknown_words


def test_every_plain_prompt_names_its_object_again():
    rng = random.Random(3)
    for _ in range(500):
        item = random_object(rng)
        again = parse_prompt(describe(item))
        assert (again.kind, again.first, again.second, again.pattern, again.stacked) == (
            item.kind,
            item.first,
            item.second,
            item.pattern,
            item.stacked,
        ), describe(item)


def test_no_paraphrase_uses_a_word_outside_the_vocabulary():
    rng = random.Random(4)
    for _ in range(1000):
        prompt = describe(random_object(rng), rng)
        assert unknown_words(prompt) == [], prompt


def test_articles_fit_the_word_that_follows():
    prompts = [describe(random_object(random.Random(seed)), random.Random(seed)) for seed in range(500)]
    assert not [prompt for prompt in prompts if " a orange" in f" {prompt}" or " an red" in f" {prompt}"]


def test_synonyms_name_the_class():
    assert parse_prompt("a red cup").kind == "mug"
    assert parse_prompt("a red torus").kind == "ring"


def test_unknown_words_are_listed_once_in_order():
    assert unknown_words("a furious dragon, furious and red") == ["furious", "dragon"]


@pytest.mark.parametrize("prompt", ["", "a dragon", "a mushroom", "red"])
def test_a_prompt_without_class_or_colour_says_what_is_known(prompt):
    with pytest.raises(ValueError, match="must name one of cube, ball"):
        parse_prompt(prompt)


def test_templates_are_all_that_is_said_but_for_the_colours():
    rng, said = random.Random(5), templates()
    met = set()
    for _ in range(3000):
        caption = describe(random_object(rng))
        met.add(template_of(caption))
        assert filled(template_of(caption), [word for word in caption.split() if word in COLOURS]) == caption
    assert met == set(said) and len(said) == len(met)
    assert set(SAID.values()) <= {word for text in said for word in text.split()}
