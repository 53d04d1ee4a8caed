"""Sealed text and the file of its keys: nothing is readable without it, and nothing lost while it is there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet import sealing
from pocketfleet.errors import SecretsSealed
from pocketfleet.sealing import Keyring


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    assert sealing.make(tmp_path / "sealing.key")
    return Keyring(tmp_path / "sealing.key")


def test_what_is_sealed_says_nothing_and_comes_back_whole(keys: Keyring) -> None:
    @given(st.text(max_size=200).filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text))
    def check(text: str) -> None:
        sealed = keys.seal(text)
        assert keys.open(sealed) == text
        assert keys.opens(sealed)
        assert len(text) < 8 or text not in sealed
        assert keys.seal(text) != sealed, "the same secret twice does not show"

    check()


def test_a_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    made: list[bool] = []
    threads = [threading.Thread(target=lambda: made.append(sealing.make(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    assert not sealing.make(path)
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["sealing.key"]


def test_a_new_key_seals_and_the_old_one_still_opens(keys: Keyring) -> None:
    old = keys.seal("secret")
    sealing.add(keys.path)
    assert keys.path.stat().st_mode & 0o777 == 0o600
    assert keys.open(old) == "secret"
    new = keys.seal("secret")
    assert sealing.keep_first(keys.path) == 1
    assert keys.open(new) == "secret"
    assert not keys.opens(old)


@pytest.mark.parametrize(
    "content, word",
    [(None, "Put it back"), ("", "holds no key"), ("not a key\n", "holds no key"), ("other", "one more line")],
)
def test_a_missing_or_wrong_key_says_what_to_do(keys: Keyring, content: str | None, word: str) -> None:
    sealed = keys.seal("secret")
    kept = keys.path.read_text()
    keys.path.unlink()
    if content == "other":
        sealing.make(keys.path)
    elif content is not None:
        keys.path.write_text(content)
    with pytest.raises(SecretsSealed, match=word) as caught:
        keys.open(sealed)
    assert "secret" not in caught.value.detail.replace("secrets", "")
    assert not keys.opens(sealed)
    keys.path.write_text(kept)
    assert keys.open(sealed) == "secret", "nothing was lost"


def test_text_in_clear_and_broken_seals_are_not_taken_for_sealed(keys: Keyring) -> None:
    sealed = keys.seal("secret")
    for text in ("", "1:", "1:clear", "clear", sealed[2:], sealed[:-6] + "AAAA==", "1:\u00e9"):
        assert not keys.opens(text)
    with pytest.raises(SecretsSealed):
        keys.open(sealed[:-6] + "AAAA==")
