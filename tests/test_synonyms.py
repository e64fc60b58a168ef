"""Words of other tools: each means one verb, or one setting that some verb has."""

from __future__ import annotations

from bmc import synonyms
from bmc.cli import app


def test_every_verb_has_words_and_none_stands_for_two() -> None:
    assert set(synonyms.VERBS) == set(app.VERBS)
    words = [word for others in synonyms.VERBS.values() for word in others]
    assert len(words) == len(set(words))
    assert not set(words) & set(synonyms.VERBS)


def test_every_setting_that_a_word_means_is_an_option_of_a_verb() -> None:
    options = {option.name for verb in app.VERBS for option in app.load(verb).params}
    assert {setting.partition(" ")[0] for setting in synonyms.SETTINGS} <= options


def test_what_is_spelled_alike_counts_only_where_it_is_asked_for() -> None:
    assert synonyms.setting_of("epoks", ["epochs"]) == "epochs"
    assert synonyms.setting_of("epoks", ["epochs"], near=False) == ""
    assert synonyms.setting_of("lr", ["epochs"]) == ""
    assert synonyms.setting_of("gpu", ["device"]) == "device cuda"
