"""Where releases come from."""

from __future__ import annotations

from pocketfleet.config import Config
from pocketfleet.runtime.sources.folder import FolderSource
from pocketfleet.runtime.sources.github import GithubSource
from pocketfleet.runtime.sources.pypi import PypiSource
from pocketfleet.runtime.sources.source import OfferedAt, Progress, Source

__all__ = ["OfferedAt", "Progress", "Source", "configured_sources"]


def configured_sources(config: Config) -> list[Source]:
    """The sources of the setting `release_sources`, in its order."""
    sources: dict[str, Source] = {
        "pypi": PypiSource(),
        "github": GithubSource(config.github_api),
        "folder": FolderSource(config.release_folder),
    }
    return [sources[name] for name in dict.fromkeys(config.release_sources)]
