"""Personal data and secrets are taken out; ordinary text stays as it is."""

from __future__ import annotations

import sys

import pytest

from ruvllm.tuning.redaction import Redactor


@pytest.fixture
def redactor() -> Redactor:
    pytest.importorskip("datafog")
    pytest.importorskip("detect_secrets")
    return Redactor()


@pytest.mark.parametrize(
    ("text", "clean", "kind"),
    [
        ("Write to anna@example.org.", "Write to [EMAIL].", "EMAIL"),
        ("Call +1 415-555-0132 now", "Call [PHONE] now", "PHONE"),
        ("Card 4111 1111 1111 1111", "Card [CREDIT_CARD]", "CREDIT_CARD"),
        ("Key AKIAIOSFODNN7EXAMPLE here", "Key [SECRET] here", "SECRET"),
        ("use ghp_16C7e42F292c6912E7710c838347Ae178B4a", "use [SECRET]", "SECRET"),
        ("password = 'hunter2secret!'", "password = '[SECRET]'", "SECRET"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\nb", "a\n[SECRET]\nb", "SECRET"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----", "[SECRET]", "SECRET"),
        ("password = 'hunter2secret!', api_key = 'k3y-of-me'", "password = '[SECRET]', api_key = '[SECRET]'", "SECRET"),
        ("DB_PASSWORD=hunter2secret", "DB_PASSWORD=[SECRET]", "SECRET"),
        ("My password: hunter2secret, thanks", "My password: [SECRET], thanks", "SECRET"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[SECRET]", "SECRET"),
        ("From 2001:db8::ff00:42:8329.", "From [IP_ADDRESS].", "IP_ADDRESS"),
    ],
)
def test_what_is_personal_or_secret_is_replaced_by_its_kind(
    redactor: Redactor, text: str, clean: str, kind: str
) -> None:
    assert redactor.redact(text) == (clean, {kind})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "In 1892 it cost 12345 dollars, on 01/02/1892.",
        "The secret of good bread is salt.",
        "The secret: knead it twice. Password: required, 8 letters. max_tokens = 512",
        "token = tokens[0] or secret = get_secret2() or pwd=$(pwd)",
        "At 12:30:45 call std::add or ::add on aa:bb:cc:dd:ee:ff, f :: Int",
        "a\r\nb\n\nc",
    ],
)
def test_ordinary_text_stays_as_it_is(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text) == (text, frozenset())


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datafog", None)
    with pytest.raises(ModuleNotFoundError, match=r"ruvllm\[pii\]"):
        Redactor()
