"""Tells the outside of promotions, stops and failures: one command of the user's, or one webhook."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from email.header import Header
from pathlib import Path
from string import Template

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from evo.runtime.monitor import Notice

KINDS = {"promotion": "promotion", "end": "stop", "failure": "failure"}  # event -> what is told
FORMATS = ("json", "slack", "discord", "ntfy")
NAMES = ("event", "campaign", "text", "at")  # what is told, and what a body of your own may name
JSON = {"Content-Type": "application/json"}
MAX_DISCORD_CHARS = 2000  # more is refused there
MAX_AT_ONCE = 8
SHORTEST_SECRET = 6


MAX_MESSAGE_SECONDS = 10.0  # for one message; then it is given up


class NotifySettings(BaseModel):
    """Whom to tell: a command that reads JSON from its standard input, a URL that a message is posted to.

    `format`: what the server there reads, by name, or your own body, with $event, $campaign, $text and $at in
    it; each is put in as it would stand between the quotes of a JSON string.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()
    url: str | None = None
    format: str = "json"

    @field_validator("url")
    @classmethod
    def _over_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url

    @field_validator("format")
    @classmethod
    def _known_names(cls, given: str) -> str:
        if given in FORMATS:
            return given
        if not _is_body(given):
            raise ValueError(
                f"should be {', '.join(FORMATS)}, or your own body, which begins with {{ or holds $text"
            )
        try:
            Template(given).substitute(dict.fromkeys(NAMES, ""))
        except KeyError as error:
            known = ", ".join(f"${name}" for name in NAMES)
            raise ValueError(f"there is no ${error.args[0]}; known: {known}") from None
        except ValueError:
            raise ValueError("a lone $ is written $$") from None
        return given

    @model_validator(mode="after")
    def _one_of_them(self) -> NotifySettings:
        if self.format != "json" and self.url is None:
            raise ValueError("a format belongs to a url")
        return self

    def message(self, told: Mapping[str, str | float]) -> tuple[bytes, dict[str, str]]:
        """The body to post and its headers."""
        line = f"{Path(str(told['campaign'])).name}: {told['event']}: {told['text']}"
        if self.format not in FORMATS:
            shown = {name: json.dumps(str(told[name]))[1:-1] for name in NAMES}
            return Template(self.format).substitute(shown).encode(), JSON
        if self.format == "ntfy":
            title = f"{told['event']} in {Path(str(told['campaign'])).name}"
            headers = {"Title": _header(title), "Content-Type": "text/plain; charset=utf-8"}
            return str(told["text"]).encode(), headers
        if self.format == "slack":
            return json.dumps({"text": _as_read_by_slack(line)}).encode(), JSON
        if self.format == "discord":
            message = {"content": line[:MAX_DISCORD_CHARS], "allowed_mentions": {"parse": []}}
            return json.dumps(message).encode(), JSON
        return json.dumps(told).encode(), JSON


def _is_body(text: str) -> bool:
    return text.lstrip().startswith("{") or "$text" in text or "${text}" in text


def _as_read_by_slack(text: str) -> str:
    """Text in which nothing is a link or calls a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _header(text: str) -> str:
    """Text as a header can carry it: on one line, other letters encoded (RFC 2047)."""
    line = " ".join(text.split())
    return line if line.isascii() else Header(line, "utf-8", maxlinelen=10_000).encode()


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
        seconds: float = MAX_MESSAGE_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._settings, self._campaign, self._complain = settings, campaign, complain
        self._environ = {name: value for name, value in environ.items() if name not in secrets}
        self._keys = [
            environ[name] for name in secrets if len(environ.get(name, "")) >= SHORTEST_SECRET
        ]
        self._threads: list[threading.Thread] = []

    def hear(self, event: Notice) -> None:
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
        if len(self._threads) < MAX_AT_ONCE:
            thread = threading.Thread(target=self._tell, args=(told,), daemon=True, name="notify")
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Wait for what is being told, no longer than each may take."""
        end = time.monotonic() + 2 * self._seconds + 1.0
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def _tell(self, told: Mapping[str, str | float]) -> None:
        if self._settings.command:
            self._run(json.dumps(told).encode())
        if self._settings.url:
            self._post(self._settings.url, *self._settings.message(told))

    def _run(self, body: bytes) -> None:
        try:
            done = subprocess.run(
                self._settings.command,
                input=body,
                capture_output=True,
                env=self._environ,
                timeout=self._seconds,
                start_new_session=True,  # a Ctrl-C for the campaign is none for it
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._complain(f"notify.command failed: {type(error).__name__}")
            return
        if done.returncode:
            self._complain(f"notify.command ended with exit code {done.returncode}")

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._seconds):
                pass
        except (OSError, ValueError) as error:  # HTTP statuses are OSErrors here
            self._complain(f"notify.url failed: {type(error).__name__}")
