"""States: every one can be reached, final ones are final, and four facts make one word."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from pocketfleet.domain.states import (
    OPEN_OPERATION_STATES,
    OPERATION_TRANSITIONS,
    STEP_TRANSITIONS,
    InstanceState,
    OperationState,
    Power,
    Process,
    StepState,
    instance_state,
)


def reachable(table: Mapping[Any, frozenset[Any]], start: StrEnum) -> set[StrEnum]:
    found, new = {start}, {start}
    while new:
        new = set().union(*(table[state] for state in new)) - found
        found |= new
    return found


@pytest.mark.parametrize(
    ("table", "start", "kind"),
    [
        (OPERATION_TRANSITIONS, OperationState.PENDING, OperationState),
        (STEP_TRANSITIONS, StepState.RUNNING, StepState),
    ],
)
def test_every_state_is_in_the_table_and_reached(
    table: Mapping[Any, frozenset[Any]], start: StrEnum, kind: type[StrEnum]
) -> None:
    assert set(table) == set(kind)
    assert set().union(*table.values()) <= set(kind)
    assert reachable(table, start) == set(kind)


def test_from_every_operation_state_the_end_is_near() -> None:
    final = {state for state, to in OPERATION_TRANSITIONS.items() if not to}
    assert final == {
        OperationState.SUCCEEDED,
        OperationState.FAILED,
        OperationState.ROLLED_BACK,
        OperationState.CANCELLED,
    }
    for state in OperationState:
        assert reachable(OPERATION_TRANSITIONS, state) & final


def test_open_is_what_node_works_on_and_asking_is_not() -> None:
    assert sorted(OPEN_OPERATION_STATES) == [OperationState.PENDING, OperationState.RUNNING]
    # nothing that was ended or waits for a person is ever taken up again by itself
    for state in set(OperationState) - OPEN_OPERATION_STATES:
        assert not OPERATION_TRANSITIONS[state] & OPEN_OPERATION_STATES


def test_a_compensated_step_stays_so_and_a_done_one_is_never_run_again() -> None:
    assert STEP_TRANSITIONS[StepState.COMPENSATED] == frozenset()
    assert StepState.RUNNING not in STEP_TRANSITIONS[StepState.DONE]
    assert StepState.RUNNING in STEP_TRANSITIONS[StepState.RUNNING]  # taken up again after a crash


def test_four_facts_make_one_word() -> None:
    seen = set()
    for power, suspended, held, process in itertools.product(Power, (True, False), (True, False), Process):
        state = instance_state(power, suspended, held, process)
        seen.add(state)
        if suspended:
            assert state == InstanceState.SUSPENDED
        elif held:
            assert state == InstanceState.HELD
        elif power == Power.OFF:
            assert state == InstanceState.OFF
        else:
            assert state.value == process.value
    assert seen == set(InstanceState)
