"""Answers that were given are given again: a retry of the same phrase costs nothing.

All of an answer is as it was but `processing_time_ms`, which is this request's.

The same phrase is one with the same fragment_id and everything else but `timeout_ms` the same: a retry has less time
left. Any other body under a fragment_id is another phrase and is dubbed by itself, so no stream ever gets what another
one said.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dubrelay.errors import StsError
from dubrelay.sts.faults import Answer
from dubrelay.wire.fragment import ProcessRequest, ProcessResult

Key = bytes

MOST = 10_000
_AROUND_BYTES = 2000
"""What an answer takes besides its sound and its words."""
_GRACE_S = 0.5
"""The work looks at its deadline itself, and says more about it."""


def key_of(request: ProcessRequest) -> Key:
    """The same for the same phrase only."""
    said = hashlib.blake2b(request.audio.data_base64.encode(), digest_size=32)
    rest = request.model_dump_json(exclude={"timeout_ms": True, "audio": {"data_base64"}})
    said.update(rest.encode())
    return said.digest()


@dataclass
class _Kept:
    result: ProcessResult
    bytes: int
    until: float


@dataclass
class _InWork:
    key: Key
    task: asyncio.Future[ProcessResult]
    waiting: int = 0


class Remembering:
    """An answer that is computed once and kept for `keep_s`, in `keep_bytes` at most; used on one event loop.

    A request for a phrase that is in work waits for that work. When nobody waits any more the work is cancelled.
    Errors are not kept.
    """

    def __init__(
        self, answer: Answer, keep_s: float, keep_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answer = answer
        self._keep_s, self._keep_bytes, self._clock = keep_s, keep_bytes, clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._bytes = 0
        self._in_work: dict[Key, _InWork] = {}

    async def __call__(self, key: Key, request: ProcessRequest, arrived: float) -> ProcessResult:
        """The answer; `arrived` is the clock's time at which the request's timeout began to count."""
        self._forget()
        while True:
            if kept := self._kept.get(key):
                return self._given_again(kept.result, arrived)
            if key not in self._in_work:
                return await self._joined(self._begun(key, request, arrived), request, arrived)
            try:
                return self._given_again(await self._joined(self._in_work[key], request, arrived), arrived)
            except StsError as e:
                # Its own time may be longer than that of the request that the work was begun for.
                if e.code != "TIMEOUT" or self._left_s(request, arrived) <= 0:
                    raise

    def _given_again(self, result: ProcessResult, arrived: float) -> ProcessResult:
        """With what it took this time."""
        return result.model_copy(update={"processing_time_ms": max(0, int(1000 * (self._clock() - arrived)))})

    def _begun(self, key: Key, request: ProcessRequest, arrived: float) -> _InWork:
        work = self._in_work[key] = _InWork(key, asyncio.ensure_future(self._answer(request, arrived)))
        work.task.add_done_callback(lambda task: self._over(work, task))
        return work

    async def _joined(self, work: _InWork, request: ProcessRequest, arrived: float) -> ProcessResult:
        work.waiting += 1
        try:
            left_s = max(0.0, self._left_s(request, arrived)) + _GRACE_S
            done, _ = await asyncio.wait({work.task}, timeout=left_s)
        finally:
            work.waiting -= 1
            if not work.waiting and not work.task.done():
                self._leave(work)
                work.task.cancel()
        try:
            if not done:
                raise StsError("TIMEOUT", f"timeout_ms = {request.timeout_ms} was over", retryable=True)
            return work.task.result()
        finally:
            # Else an error would hold this frame, which holds it: megabytes until the next collection.
            del work, done

    def _leave(self, work: _InWork) -> None:
        if self._in_work.get(work.key) is work:
            del self._in_work[work.key]

    def _over(self, work: _InWork, task: asyncio.Future[ProcessResult]) -> None:
        self._leave(work)
        if not task.cancelled() and task.exception() is None:
            self._keep(work.key, task.result())

    def _keep(self, key: Key, result: ProcessResult) -> None:
        size = _AROUND_BYTES + len(result.transcript) + len(result.translated_text)
        if result.dubbed_audio is not None:
            size += len(result.dubbed_audio.data_base64)
        if size > self._keep_bytes or self._keep_s <= 0:
            return
        self._kept[key] = _Kept(result, size, self._clock() + self._keep_s)
        self._bytes += size
        self._forget()

    def _forget(self) -> None:
        """What is too old, then the oldest while it is too much."""
        now = self._clock()
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.until > now and self._bytes <= self._keep_bytes and len(self._kept) <= MOST:
                break
            self._kept.popitem(last=False)
            self._bytes -= oldest.bytes

    def _left_s(self, request: ProcessRequest, arrived: float) -> float:
        return arrived + request.timeout_ms / 1000 - self._clock()
