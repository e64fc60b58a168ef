"""Every technique: frozen settings with defaults, documented, and records that are checked."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from bmc.contracts import Technique
from bmc.contracts.techniques import kinds, setting_names, technique, techniques
from bmc.errors import ArtifactError

EVERY = [f"{kind}/{name}" for kind in kinds() for name in techniques(kind).names()]


def test_the_kinds_are_the_folders_of_compress() -> None:
    assert kinds() == ["distill", "prune", "quantize", "share"]


@pytest.mark.parametrize("method", [name for name in EVERY if not name.startswith("distill/")])
def test_its_settings_have_defaults_and_can_be_replaced(method: str) -> None:
    described = technique(method)
    assert isinstance(described, Technique)
    step = described.step()
    assert replace(step) == step


@pytest.mark.parametrize("method", EVERY)
def test_its_docstring_explains_every_setting(method: str) -> None:
    step = technique(method).step
    text = "\n\n".join(part.__doc__ or "" for part in step.__mro__[:-1])  # object's aside
    for setting in fields(step):
        assert re.search(rf"^\s+{setting.name}: ", text, re.MULTILINE), setting.name
    assert re.fullmatch(r"[A-Z].*\.", text.strip().split("\n\n")[0].replace("\n", " "))


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ArtifactError, match="not a compression step"):
        technique("os/path")


@pytest.mark.parametrize("method", EVERY)
def test_its_settings_are_known_without_importing_it(method: str) -> None:
    kind, _, name = method.partition("/")
    assert setting_names(kind, name) == [field.name for field in fields(technique(method).step)]


def test_what_is_no_technique_has_no_settings() -> None:
    assert setting_names("prune", "nothing") == setting_names("nothing", "static") == []
