"""The words that hooks must change: consistent with themselves (tests/integration asks real releases)."""

from __future__ import annotations

from pocketfleet.domain import hook_changes as changes
from pocketfleet.domain.releases import Version


def test_only_the_step_to_0_23_is_one() -> None:
    assert changes.crosses_rewrite(Version("0.22.27"), Version("0.23.0"))
    assert changes.crosses_rewrite(Version("0.17.0"), Version("0.40.6"))
    assert not changes.crosses_rewrite(Version("0.23.0"), Version("0.40.6"))
    assert not changes.crosses_rewrite(Version("0.40.6"), Version("0.22.27"))


def test_pairs_of_events_become_one_with_next_in_its_place() -> None:
    assert changes.EVENTS["onRecordBeforeCreateRequest"] == "onRecordCreateRequest((e) => { ...; e.next() })"
    assert changes.EVENTS["onRecordAfterCreateRequest"] == "onRecordCreateRequest((e) => { e.next(); ... })"
    assert changes.EVENTS["onAdminBeforeUpdateRequest"].endswith('e.next() }, "_superusers")')


def test_nothing_is_both_gone_and_kept() -> None:
    assert not changes.KEPT_EVENTS & changes.EVENTS.keys()
    assert not {instead.partition("(")[0] for instead in changes.EVENTS.values()} & changes.EVENTS.keys()
