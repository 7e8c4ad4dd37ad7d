"""Webhooks of the simulated IntaSend: queued, sent in order, tried again, and off after too many failures."""

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any

from bot.sandbox.accounts import INTASEND_CHALLENGE, WEBHOOK_INTASEND
from bot.sandbox.calls import Call
from bot.sandbox.hooks import Unreachable
from bot.sandbox.intasend.books import Books
from bot.sandbox.intasend.records import HOOK_FAILURES_MAX, HOOK_RETRY_S, HOOKS_MAX, OURS, Batch, Invoice
from bot.sandbox.truth import JsonObject


class Telling(Books):
    """An account that tells the application what happens."""

    async def _begin(self, work: Coroutine[Any, Any, None], call: Call) -> None:
        """Let something run its course: beside the answer, or before it where a fault wants the webhooks first."""
        if call.webhooks.before_response:
            await work
            await self._posted()
        else:
            self._spawn(work)

    @staticmethod
    def _lie(of: "Invoice | Batch", call: Call) -> None:
        """From now on, for as long as the fault says, questions about it are answered with FAILED."""
        if call.fault == "status_query_lies_for":
            of.lies_until = time.time() + call.seconds

    def _queue_hooks(self, of: "Invoice | Batch", body: JsonObject, *, challenge: bool = True) -> None:
        if self._whose(of) != OURS:
            return  # The other merchant has given no address.
        if challenge:
            body = body | {"challenge": INTASEND_CHALLENGE}
        for _ in range(of.webhooks.copies):
            if of.webhooks.reordered:
                of.kept_back.append(body)
            else:
                self._queue_hook(body)

    def _queue_hook(self, body: JsonObject) -> None:
        if len(self._queue) < HOOKS_MAX:
            self._queue.append(body)
            self._queued.set()

    def _let_go(self, of: "Invoice | Batch") -> None:
        """Send what was kept back, the last first."""
        kept, of.kept_back = of.kept_back, []
        for body in reversed(kept):
            self._queue_hook(body)

    async def _post_all(self) -> None:
        while True:
            await self._queued.wait()
            while self._queue:
                await self._post(self._queue[0], 0)
                if self._queue:
                    self._queue.popleft()
            self._queued.clear()

    async def _posted(self) -> None:
        """Wait until every webhook was tried once."""
        while self._queue:
            await asyncio.sleep(0.005)

    async def _post(self, body: JsonObject, tries: int) -> None:
        if self._misses >= HOOK_FAILURES_MAX:
            return
        try:
            reply = await self._hooks.post(
                self._hooks.app_url + WEBHOOK_INTASEND, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            ok = 200 <= reply.status < 300
        except Unreachable:
            ok = False
        if ok:
            self._misses = 0
            return
        self._misses += 1
        if self._misses == HOOK_FAILURES_MAX:
            self._log({"kind": "webhook_off", "reason": f"{HOOK_FAILURES_MAX} failures in a row"})
        if tries < len(HOOK_RETRY_S):
            self._spawn(self._post_again(body, tries))

    async def _post_again(self, body: JsonObject, tries: int) -> None:
        await asyncio.sleep(HOOK_RETRY_S[tries])
        await self._post(body, tries + 1)
