"""Prints the WhatsApp templates as they are to be entered with a provider.

`python -m scripts.provider_templates [LANGUAGE …]`
"""

import sys
from collections.abc import Sequence

from lib.wording import BUTTONS, LANGUAGES, TEMPLATES, UNDER_THE_MESSAGE, provider_text

WITH_BUTTONS = "P26_cancellation_request"


def main(arguments: Sequence[str]) -> int:
    """Print those of one language, or all."""
    for language in LANGUAGES:
        if arguments and language not in arguments:
            continue
        for template, placeholders in TEMPLATES.items():
            print(f"=== {template} ({language}): {template.lower()}, or campaign {template}_{language}")
            print(f"    {', '.join(f'{{{{{nth}}}}} {name}' for nth, name in enumerate(placeholders, 1))}\n")
            print(provider_text(template, language) + "\n")
            if template == WITH_BUTTONS:
                print("Buttons: " + " | ".join(BUTTONS[answer][language] for answer in UNDER_THE_MESSAGE) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
