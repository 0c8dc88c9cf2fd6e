"""Personal data and secrets out of texts, by DataFog and detect-secrets (extra `pii`)."""

from __future__ import annotations

import importlib
import ipaddress
import re
import threading
from types import ModuleType

__all__ = ["Redactor"]

PERSONAL = ["EMAIL", "PHONE", "SSN", "CREDIT_CARD", "IP_ADDRESS"]  # dates and postal codes are in every other answer
SECRETS = (  # all that look for a form; those by entropy take every rare word for a secret
    "ArtifactoryDetector AWSKeyDetector AzureStorageKeyDetector BasicAuthDetector DiscordBotTokenDetector "
    "GitHubTokenDetector GitLabTokenDetector JwtTokenDetector KeywordDetector MailchimpDetector NpmDetector "
    "OpenAIDetector PrivateKeyDetector PypiTokenDetector SendGridDetector SlackDetector SquareOAuthDetector "
    "StripeDetector TelegramBotTokenDetector TwilioKeyDetector"
).split()
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
)
ASSIGNED = re.compile(  # a secret without the quotes that detect-secrets wants: a word with letters and digits
    r"""((?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|auth|private)_?key)\w*[ \t]*[:=][ \t]*)
    (?=[^\s'"`,;()\[\]{}<>]*\d)(?=[^\s'"`,;()\[\]{}<>]*[a-z])[^\s'"`,;()\[\]{}<>]{6,}(?=[\s'"`,;)]|\Z)""",
    re.IGNORECASE | re.VERBOSE,
)
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")  # DataFog knows IPv4
IPV6_GROUPS = 3  # that are written out at least: "::add" is a name in a program

_settings_lock = threading.Lock()  # detect-secrets has one set of settings for the process


class Redactor:
    """Replaces addresses, numbers of people, and secrets by [EMAIL], [PHONE], ..., [SECRET].

    Forms are found, names of people are not.

    Raises:
        ModuleNotFoundError: the extra `pii` is not installed.
    """

    def __init__(self) -> None:
        self._datafog = _needed("datafog")
        self._scan = _needed("detect_secrets.core.scan")
        self._settings = _needed("detect_secrets.settings")

    def redact(self, text: str) -> tuple[str, frozenset[str]]:
        """Return the text without them, and the kinds of what was taken out."""
        if not text.strip():
            return text, frozenset()
        text, kinds = self._without_secrets(text)
        found = self._datafog.redact(text, engine="regex", entity_types=PERSONAL)
        redacted = str(found.redacted_text)
        for kind in PERSONAL:
            redacted = re.sub(rf"\[{kind}_\d+\]", f"[{kind}]", redacted)
        kinds |= {entity.type for entity in found.entities}
        without = IPV6.sub(lambda address: "[IP_ADDRESS]" if _is_ipv6(address[0]) else address[0], redacted)
        return without, frozenset(kinds if without == redacted else {*kinds, "IP_ADDRESS"})

    def _without_secrets(self, text: str) -> tuple[str, set[str]]:
        clean = PRIVATE_KEY.sub("[SECRET]", text)
        lines = clean.splitlines(keepends=True)
        with _settings_lock, self._settings.transient_settings({"plugins_used": [{"name": one} for one in SECRETS]}):
            lines = [self._line_without_secrets(line) for line in lines]
        clean = ASSIGNED.sub(r"\1[SECRET]", "".join(lines))
        return clean, set() if clean == text else {"SECRET"}

    def _line_without_secrets(self, line: str) -> str:
        done = ""
        while line:
            for secret in self._scan.scan_line(line):
                value = secret.secret_value
                if value:  # of some, the value is the first part only: the whole word goes
                    line = re.sub(rf"[^\s'\"`]*{re.escape(value)}[^\s'\"`]*", "[SECRET]", line)
            before, found, line = line.partition("[SECRET]")  # of those with a name, the first of a line is told
            done += before + found
        return done


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return sum(map(bool, text.split(":"))) >= IPV6_GROUPS


def _needed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("tuning.redact needs the extra pii: pip install 'ruvllm[pii]'", name=name) from error
