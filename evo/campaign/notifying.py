"""Tells the outside of promotions, stops and failures: one command of the user's, or one webhook."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from evo.campaign.board import Event

KINDS = {"promotion": "promotion", "end": "stop", "failure": "failure"}  # event -> what is told
MOST_AT_ONCE = 8
SHORTEST_SECRET = 6


class NotifySettings(BaseModel):
    """Whom to tell: a command that reads JSON from its standard input, a URL that JSON is posted to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()
    url: str | None = None
    seconds: float = Field(default=10.0, gt=0, le=120, description="then it is given up")

    @field_validator("url")
    @classmethod
    def _over_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url


class Notifier:
    """Hears the board's events and tells those that matter, each in a thread of its own.

    `secrets` are the environment variables whose values leave this process in no message and that the
    command does not inherit. `complain` hears of what could not be told.
    """

    def __init__(
        self,
        settings: NotifySettings,
        campaign: str,
        secrets: Collection[str],
        complain: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings, self._campaign, self._complain = settings, campaign, complain
        self._environ = {name: value for name, value in environ.items() if name not in secrets}
        self._keys = [
            environ[name] for name in secrets if len(environ.get(name, "")) >= SHORTEST_SECRET
        ]
        self._threads: list[threading.Thread] = []

    def hear(self, event: Event) -> None:
        """A listener of the board."""
        if event.kind not in KINDS or not (self._settings.command or self._settings.url):
            return
        text = event.text
        for key in self._keys:
            text = text.replace(key, "[key]")
        told = {
            "event": KINDS[event.kind],
            "campaign": self._campaign,
            "text": text,
            "at": event.at,
        }
        self._threads = [one for one in self._threads if one.is_alive()]
        if len(self._threads) < MOST_AT_ONCE:
            body = json.dumps(told).encode()
            thread = threading.Thread(target=self._tell, args=(body,), daemon=True, name="notify")
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Wait for what is being told, no longer than each may take."""
        end = time.monotonic() + 2 * self._settings.seconds + 1.0
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def _tell(self, body: bytes) -> None:
        if self._settings.command:
            self._run(body)
        if self._settings.url:
            self._post(self._settings.url, body)

    def _run(self, body: bytes) -> None:
        try:
            done = subprocess.run(
                self._settings.command,
                input=body,
                capture_output=True,
                env=self._environ,
                timeout=self._settings.seconds,
                start_new_session=True,  # a Ctrl-C for the campaign is none for it
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._complain(f"notify.command failed: {type(error).__name__}")
            return
        if done.returncode:
            self._complain(f"notify.command ended with exit code {done.returncode}")

    def _post(self, url: str, body: bytes) -> None:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self._settings.seconds):
                pass
        except (OSError, ValueError) as error:  # HTTP statuses are OSErrors here
            self._complain(f"notify.url failed: {type(error).__name__}")
