"""Tells code from comments, texts and regular expressions in JavaScript, and finds calls and functions in it.

A scanner, not a parser: it never fails, whatever it is given, and knows brackets, names and texts with their lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

#: Words after which a slash begins a regular expression, though they are words.
_BEFORE_REGEX = {
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "delete",
    "void",
    "throw",
    "new",
    "else",
    "do",
    "yield",
    "await",
}
_SPACE = re.compile(r"\s+")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_$#\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_NUMBER = re.compile(r"\.?\d[\w.]*")
_STRING = re.compile(r"'(?:[^'\\\n]|\\.)*'?|\"(?:[^\"\\\n]|\\.)*\"?", re.DOTALL)
#: Bounded, so that no line of code that is none costs more than its length times that.
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.){0,300}\]){1,1000}/[a-z]*")
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*", re.DOTALL)
_PUNCTUATION = re.compile(r"=>|\?\.(?!\d)|\.\.\.|[-+*%&|^!=<>?]+|.", re.DOTALL)
#: Templates within templates; deeper ones are read as text.
_DEEPEST = 50
_CLOSING = {")": "(", "]": "[", "}": "{"}


class Kind(StrEnum):
    """What a token is; comments and white space are none."""

    NAME = "name"
    TEXT = "text"
    NUMBER = "number"
    REGEX = "regex"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of code; of a text, what is between the quotes. `line` counts from 1."""

    kind: Kind
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function in the code: its parameters' names, and the tokens of its body as [start, end)."""

    parameters: tuple[str, ...]
    start: int
    end: int


def tokens_of(source: str) -> list[Token]:
    """The code's tokens in order. Texts of templates are texts, what stands in `${}` is code."""
    return list(_Scanner(source).tokens())


class _Scanner:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._line = 1
        self._last: Token | None = None
        self._depth = 0

    def tokens(self, *, nested: bool = False) -> Iterator[Token]:
        """All to the end, or to the bracket that closes a `${`."""
        depth = 0
        while self._at < len(self._source):
            if self._skip(_SPACE) or self._skip(_COMMENT):
                continue
            if self._source[self._at] == "`":
                yield from self._template()
                continue
            token = self._next()
            depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind is Kind.MARK else 0
            if nested and depth < 0:
                return
            yield token

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._source, self._at)
        if match and match[0]:
            self._move(match[0])
        return bool(match and match[0])

    def _move(self, text: str) -> None:
        self._at += len(text)
        self._line += text.count("\n")

    def _next(self) -> Token:
        patterns = [(Kind.NAME, _NAME), (Kind.NUMBER, _NUMBER), (Kind.TEXT, _STRING)]
        if self._may_be_regex():
            patterns.append((Kind.REGEX, _REGEX))
        for kind, pattern in [*patterns, (Kind.MARK, _PUNCTUATION)]:
            match = pattern.match(self._source, self._at)
            if match and match[0]:
                return self._made(kind, match[0])
        return self._made(Kind.MARK, self._source[self._at])

    def _made(self, kind: Kind, text: str) -> Token:
        token = Token(kind, text[1:].removesuffix(text[0]) if kind is Kind.TEXT else text, self._line)
        self._move(text)
        self._last = token
        return token

    def _may_be_regex(self) -> bool:
        last = self._last
        if last is None:
            return True
        if last.kind is Kind.NAME:
            return last.text in _BEFORE_REGEX
        return last.kind is Kind.MARK and last.text not in (")", "]", "}")

    def _template(self) -> Iterator[Token]:
        self._move("`")
        while self._at < len(self._source):
            match = _TEMPLATE.match(self._source, self._at)
            text = match[0] if match else ""
            token = self._last = Token(Kind.TEXT, text, self._line)
            self._move(text)
            yield token
            if self._source.startswith("${", self._at):
                self._move("${")
                self._last = None
                if self._depth < _DEEPEST:
                    self._depth += 1
                    yield from self.tokens(nested=True)
                    self._depth -= 1
            else:
                self._move(self._source[self._at : self._at + 1])
                self._last = token
                return


class Code:
    """Tokens, and which bracket belongs to which."""

    def __init__(self, source: str) -> None:
        self.tokens = tokens_of(source)
        self.closes: dict[int, int] = {}
        open_ones: list[int] = []
        for at, token in enumerate(self.tokens):
            if token.kind is Kind.MARK and token.text in "([{":
                open_ones.append(at)
            elif token.kind is Kind.MARK and open_ones and _CLOSING.get(token.text) == self.tokens[open_ones[-1]].text:
                self.closes[open_ones.pop()] = at

    def is_mark(self, at: int, *texts: str) -> bool:
        """Whether there is one of these marks."""
        token = self._get(at)
        return token is not None and token.kind is Kind.MARK and token.text in texts

    def name(self, at: int) -> str:
        """The name that stands there, "" for anything else."""
        token = self._get(at)
        return token.text if token is not None and token.kind is Kind.NAME else ""

    def text(self, at: int) -> str | None:
        """The text that stands there, None for anything else."""
        token = self._get(at)
        return token.text if token is not None and token.kind is Kind.TEXT else None

    def is_member(self, at: int) -> bool:
        """Whether the name there belongs to what is before it."""
        return self.is_mark(at - 1, ".", "?.")

    def is_key(self, at: int) -> bool:
        """Whether the name there is a key of an object, `{name: ...}`."""
        return self.is_mark(at + 1, ":") and self.is_mark(at - 1, "{", ",")

    def calls(self, name: str | None = None) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """(where the name stands, its arguments as [start, end)) of calls of plain names, `name(...)`."""
        for at, token in enumerate(self.tokens):
            is_call = token.kind is Kind.NAME and self.is_mark(at + 1, "(") and not self.is_member(at)
            if is_call and name in (None, token.text) and self.name(at - 1) != "function":
                yield at, self.arguments(at + 1)

    def arguments(self, bracket: int) -> list[tuple[int, int]]:
        """What is between this bracket and its other half, split at the commas; nothing where it has none."""
        end = self.closes.get(bracket, bracket)
        parts, start, at = [], bracket + 1, bracket + 1
        while at < end:
            if self.is_mark(at, ","):
                parts.append((start, at))
                start = at + 1
            at = self.closes.get(at, at) + 1
        return [*parts, (start, end)] if start < end else parts

    def function(self, start: int, end: int) -> Function | None:
        """The function that these tokens are, `(e) => ...` or `function (e) {...}`; None for anything else."""
        if self.name(start) == "async":
            start += 1
        if self.name(start) == "function":
            return self._written_function(start + 1)
        if self.name(start) and self.is_mark(start + 1, "=>"):
            return Function((self.name(start),), *self._body(start + 2, end))
        close = self.closes.get(start)
        if self.is_mark(start, "(") and close is not None and self.is_mark(close + 1, "=>"):
            return Function(self._parameters(start), *self._body(close + 2, end))
        return None

    def _written_function(self, at: int) -> Function | None:
        at += 1 if self.is_mark(at, "*") else 0
        at += 1 if self.name(at) else 0
        close = self.closes.get(at)
        if not self.is_mark(at, "(") or close is None:
            return None
        body = close + 1
        return Function(self._parameters(at), body + 1, self.closes.get(body, len(self.tokens)))

    def _body(self, start: int, end: int) -> tuple[int, int]:
        if self.is_mark(start, "{"):
            return start + 1, self.closes.get(start, end)
        at = start
        while at < end and not self.is_mark(at, ",", ";", ")", "]", "}"):
            at = self.closes.get(at, at) + 1
        return start, at

    def _parameters(self, bracket: int) -> tuple[str, ...]:
        return tuple(self.name(start) for start, _ in self.arguments(bracket))

    def _get(self, at: int) -> Token | None:
        return self.tokens[at] if 0 <= at < len(self.tokens) else None
