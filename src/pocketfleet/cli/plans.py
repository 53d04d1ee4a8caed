"""Backup plans and retention as people write them: `0 3 * * * Europe/Vienna keep=7 full`, `last=5 daily=7 weekly=4`."""

from __future__ import annotations

from typing import Any

from pocketfleet.errors import WrongSetting

OFF, DEFAULT = "off", "default"
_FIELDS = 5
_RULE = ("last", "daily", "weekly")


def parse_backup(text: str) -> dict[str, Any]:
    """The plan as the API takes it: cron's five fields, then maybe a time zone, `keep=N`, `full`; `off` for none.

    Raises WrongSetting.
    """
    words = text.split()
    if [word.lower() for word in words] == [OFF]:
        return {}
    plan: dict[str, Any] = {"cron": " ".join(words[:_FIELDS])}
    for word in words[_FIELDS:]:
        key, equals, value = word.partition("=")
        if word == "full":
            plan["full"] = True
        elif key == "keep" and equals and value.isascii() and value.isdecimal():
            plan["keep"] = int(value)
        elif not equals and "zone" not in plan:
            plan["zone"] = word
        else:
            raise _no_plan(text)
    if len(words) < _FIELDS:
        raise _no_plan(text)
    return plan


def show_backup(plan: dict[str, Any]) -> str:
    """The opposite of `parse_backup`."""
    if not plan:
        return OFF
    return f"{plan['cron']} {plan['zone']} keep={plan['keep']}" + (" full" if plan["full"] else "")


def parse_retention(text: str) -> dict[str, int]:
    """Which snapshots to keep, as the API takes it; `default` for the server's rule. Raises WrongSetting."""
    words = text.split()
    if words == [DEFAULT]:
        return {}
    rule: dict[str, int] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in _RULE or key in rule or not (value.isascii() and value.isdecimal()):
            words = []
            break
        rule[key] = int(value)
    if not words:
        raise WrongSetting(f"“{text[:70]}” says not what to keep. For example: `last=5 daily=7 weekly=4`.")
    return rule


def show_retention(rule: dict[str, int]) -> str:
    """The opposite of `parse_retention`."""
    return " ".join(f"{name}={rule.get(name, 0)}" for name in _RULE) if rule else DEFAULT


def _no_plan(text: str) -> WrongSetting:
    return WrongSetting(f"“{text[:70]}” is no plan. For example: `0 3 * * * Europe/Vienna keep=7 full`, or `{OFF}`.")
