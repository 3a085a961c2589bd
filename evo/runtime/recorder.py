"""The record lane: one thread through which every write of a campaign goes, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from evo.evaluation.evaluator import WEIGHTS_DIGEST
from population.reading.traces import block_with_fact
from population.store import Store, StoreError
from population.types import LlmCall, Measurement, Status

Result = TypeVar("Result")
Write = Callable[[Store], Any]

FIRST_WAIT_SECONDS = 0.2
MAX_WAIT_SECONDS = 5.0


class Recorder:
    """Runs writes one after another on its own connection.

    A write that fails because the disk is full or someone else holds the database is tried again until it
    succeeds: a finished measurement is never dropped. `complain` hears of the waiting, once a cause.
    """

    def __init__(self, open_store: Callable[[], Store], complain: Callable[[str], None]) -> None:
        self._open_store = open_store
        self._complain = complain
        self._writes: queue.Queue[tuple[Write, Future[Any]] | None] = queue.Queue()
        self._giving_up = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="record", daemon=True)

    def start(self) -> None:
        """Start the lane."""
        self._thread.start()

    def submit(self, write: Callable[[Store], Result]) -> Future[Result]:
        """Queue one write; the future holds its result or its error (RuntimeError once the lane is closed)."""
        future: Future[Result] = Future()
        if self._closed.is_set():
            future.set_exception(RuntimeError("the campaign has ended; this write came too late"))
            return future
        self._writes.put((write, future))
        return future

    def write(self, write: Callable[[Store], Result]) -> Result:
        """Queue one write and wait until it is committed."""
        return self.submit(write).result()

    def give_up(self) -> None:
        """From now on, do not wait for a disk that stays full. Safe in a signal handler."""
        self._giving_up.set()

    def close(self, give_up: bool = False) -> None:
        """Finish what is queued and stop; with `give_up`, do not wait for a disk that stays full."""
        if give_up:
            self.give_up()
        self._closed.set()
        self._writes.put(None)
        self._thread.join()

    def _loop(self) -> None:
        with self._open_store() as store:
            while (item := self._writes.get()) is not None:
                write, future = item
                try:
                    future.set_result(self._persist(store, write))
                except Exception as error:  # noqa: BLE001 - border: the caller gets it, the lane goes on
                    future.set_exception(error)

    def _persist(self, store: Store, write: Write) -> Any:
        wait, complained = FIRST_WAIT_SECONDS, False
        while True:
            try:
                return write(store)
            except StoreError as error:
                if self._giving_up.is_set() or not error.passing:
                    raise
                if not complained:
                    complained = True
                    self._complain(
                        f"waiting to write: {error}; nothing is lost, free the disk or lock"
                    )
                self._giving_up.wait(wait)
                wait = min(wait * 2, MAX_WAIT_SECONDS)


class StoredCalls:
    """The log of a campaign's requests to models, kept in its store."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def asked(self, call: LlmCall) -> int:
        """Written before the request is sent: a kill in the middle must not forget what it may cost."""
        return self._recorder.write(lambda store: store.add_llm_call(call))

    def answered(self, number: int, call: LlmCall) -> None:
        """Queued: the record lane keeps the order, so it is there before the proposal's own row."""
        self._recorder.submit(lambda store: store.finish_llm_call(number, call))


# -- What only the rows of other runs can say of a run: whether a variant uses its block.


def add_judged(store: Store, measurement: Measurement) -> tuple[int, Measurement]:
    """Record a measurement, as rejected if another block left the same weights; its id and what was kept.

    Every block has its own seed and leaves out its own documents: equal weights come from neither. It
    is judged against the rows, so that it also holds for those of an earlier process.
    """
    digest = measurement.facts.get(WEIGHTS_DIGEST, "")
    if measurement.status is Status.OK and digest:
        twin = block_with_fact(store, measurement.request, WEIGHTS_DIGEST, digest)
        if twin is not None:
            reason = f"ignores the block: its final weights are those of block {twin}"
            measurement = replace(
                measurement, status=Status.REJECTED, reason=reason, metrics={}, documents=()
            )
    return store.add_measurement(measurement), measurement
