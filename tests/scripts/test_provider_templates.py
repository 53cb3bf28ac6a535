"""The list that an admin copies templates from."""

import pytest

from lib.wording import BUTTONS, LANGUAGES, TEMPLATES, UNDER_THE_MESSAGE, provider_text
from scripts.provider_templates import main


def test_every_text_is_printed_with_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    for language in LANGUAGES:
        for template in TEMPLATES:
            assert f"=== {template} ({language}): {template.lower()}, or campaign {template}_{language}\n" in told
            assert provider_text(template, language) in told
        assert f"Buttons: {' | '.join(BUTTONS[answer][language] for answer in UNDER_THE_MESSAGE)}\n" in told


def test_one_language_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    main(["de"])
    told = capsys.readouterr().out
    assert told.count("=== ") == len(TEMPLATES)
    assert "Guten Tag {{1}}," in told
    assert "Hello" not in told
