"""The plain runner keeps the contract."""

from __future__ import annotations

from pocketfleet.config import Config
from pocketfleet.runtime.process_runner import ProcessRunner
from pocketfleet.runtime.runner import Runner
from tests.integration.runtime.runner_contract import RunnerContract


class TestProcessRunner(RunnerContract):
    """Against real processes."""

    def make(self, config: Config) -> Runner:
        return ProcessRunner(config)
