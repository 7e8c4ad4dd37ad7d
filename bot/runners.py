"""The two loops that run a conversation: the turn runner answers, the delivery runner sends. Both only claim rows.

They live in the web process by default and as `python3 -m bot turns` on as many machines as wanted. Each waits to
be woken and looks anyway every SWEEP_S, so a lost wake-up is a short delay.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import structlog

from bot.pace import Pace
from bot.wiring import Services, services
from channels.base import Channel, NotSent, OptedOut, OutcomeUnknown, OutsideWindow, Typist, Undeliverable, Unknowable
from core import gate, opt_out
from core.db import Database, is_away
from core.errors import Erased, StoreUnavailable
from core.handoff_store import Handoffs
from core.log import configure
from core.messages import ChannelName, OutboundMessage, Reply
from core.metrics import OPEN_TURNS, SENDING, SENDS, TURN_SECONDS, TURNS
from core.outbox import ASK_AFTER_S, RETRY_S_MAX, Delivery, Outbox, Outcome
from core.settings import Settings
from core.turn import ATTEMPTS_MAX, TURN_S_MAX, Closing, Turn, TurnDeps, speaking
from core.turn_answer import APOLOGY, run_turn
from core.turn_store import Turns
from core.wake import Wakes, spread
from core.window import WINDOWED, FreeText, Hold, Refuse, UseTemplate

log = structlog.get_logger()

SWEEP_S = 1.0
OPEN_TURNS_MAX = 256
CLAIM_MAX = 64
SENDING_MAX = 32
"""How many messages of one channel are on their way at once; one that hangs cannot use up another channel's."""
ASKING_MAX = 8
SEND_SHARE = 0.8
"""How much of its lease a send may take; longer than any channel's own time-outs by default."""
AWAY_S = 1.0
TYPING_AFTER_S = 1.0
"""An answer that takes longer lets the person see that it is being made."""
TYPING_EVERY_S = 5.0
TYPING_LOOK_S = 0.25
OVERDUE = "the turn takes too long"
CLOSED, FENCED, FAILED = (TURNS.labels(outcome) for outcome in ("closed", "fenced", "failed"))


class TurnRunner:
    """Claims turns, answers each in its own task, closes them in batches."""

    def __init__(
        self,
        turns: Turns,
        deps: TurnDeps,
        wakes: Wakes,
        *,
        turn_s: float = TURN_S_MAX,
        channels: Mapping[ChannelName, Channel] | None = None,
    ) -> None:
        """A turn that takes longer than `turn_s` is stopped and tried again later; `channels` show us typing."""
        self._typists = {name: one for name, one in (channels or {}).items() if isinstance(one, Typist)}
        self._turns = turns
        self._turn_s = turn_s
        self._renew_s = deps.settings.turn_lease_s / 3
        self._deps = deps
        self._wakes = wakes
        self._open: dict[asyncio.Task[None], tuple[Turn, float]] = {}
        """The turns being answered, and since when by the monotonic clock."""

    async def run(self) -> None:
        """Run until cancelled; open turns then go back to whoever comes next, when their leases end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew(), name="turns.renew")
            if self._typists:
                group.create_task(self._show_typing(), name="turns.typing")
            while True:
                await self._wakes.wait("turn", spread(SWEEP_S))
                try:
                    while (room := OPEN_TURNS_MAX - len(self._open)) > 0:
                        claimed = await self._turns.claim(min(room, CLAIM_MAX))
                        for turn in claimed:
                            task = group.create_task(self._answer(turn))
                            self._open[task] = turn, time.monotonic()
                            task.add_done_callback(self._done)
                        OPEN_TURNS.set(len(self._open))
                        if len(claimed) < min(room, CLAIM_MAX):
                            break
                except Exception as error:
                    await _away_or_raise(error, "turns")

    def _done(self, task: asyncio.Task[None]) -> None:
        if len(self._open) >= OPEN_TURNS_MAX:
            self._wakes.wake("turn")
        del self._open[task]

    async def _answer(self, turn: Turn) -> None:
        started = time.perf_counter()
        try:
            if turn.attempt > ATTEMPTS_MAX:
                log.error("turn.dead", turn_id=turn.id, attempts=turn.attempt)
                closing = Closing(turn, Reply.of(APOLOGY.to(speaking(turn.person, turn.text).language)), turn.state)
            else:
                closing = await run_turn(turn, self._deps)
            closed = await self._turns.close(closing)
            (CLOSED if closed else FENCED).inc()
            TURN_SECONDS.observe(time.perf_counter() - started)
            if not closed:
                log.warning("turn.fenced", turn_id=turn.id, attempt=turn.attempt)
        except asyncio.CancelledError as cancelled:
            if OVERDUE not in cancelled.args:
                raise
            FAILED.inc()
            log.error("turn.overdue", turn_id=turn.id, attempt=turn.attempt)
            with suppress(Exception):
                await self._turns.give_back(turn, RETRY_S_MAX)
        except StoreUnavailable:
            log.warning("turn.store_away", turn_id=turn.id)
        except Erased:
            # Somebody it is about has been erased meanwhile; whoever claims it next, if it is still there, finds so.
            log.info("turn.erased", turn_id=turn.id)
            with suppress(Exception):
                await self._turns.give_back(turn, 0.0)
        except Exception as error:
            # A bug, or PostgreSQL going away under an action: the turn is tried again later, at most ATTEMPTS_MAX
            # times.
            FAILED.inc()
            log.exception("turn.failed", turn_id=turn.id, attempt=turn.attempt, error=type(error).__name__)
            with suppress(Exception):
                await self._turns.give_back(turn, min(2.0 ** (turn.attempt - 1), RETRY_S_MAX))

    async def _show_typing(self) -> None:
        """Let people see that an answer is being made that takes longer, each room at most every TYPING_EVERY_S."""
        shown: dict[tuple[ChannelName, str], float] = {}
        while True:
            await asyncio.sleep(TYPING_LOOK_S)
            now = time.monotonic()
            shown = {place: at for place, at in shown.items() if now - at < TYPING_EVERY_S}
            for turn, since in list(self._open.values()):
                place = turn.address.channel, turn.address.room
                typist = self._typists.get(turn.address.channel)
                if typist is not None and now - since > TYPING_AFTER_S and place not in shown:
                    shown[place] = now
                    await typist.show_typing(turn.address.room)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            overdue_since = time.monotonic() - self._turn_s
            for task, (_, since) in self._open.items():
                # A time-out around each turn would cost more than answering many of them does.
                if since < overdue_since:
                    task.cancel(OVERDUE)
            if self._open:
                try:
                    # A turn just stopped is being given back, and keeps the longer wait it is given.
                    await self._turns.renew([turn for turn, since in self._open.values() if since >= overdue_since])
                except Exception as error:
                    await _away_or_raise(error, "turns.renew")


class DeliveryRunner:
    """Claims outbox rows per channel, sends each in its own task, settles how it went in batches."""

    def __init__(
        self, db: Database, outbox: Outbox, channels: Mapping[ChannelName, Channel], wakes: Wakes, settings: Settings
    ) -> None:
        self._db = db
        self._outbox = outbox
        self._looked = UUID(int=0)
        """How far the look for held messages whose people have written has come."""
        self._channels = channels
        self._wakes = wakes
        self._certain_s = settings.unknown_certain_s
        self._send_s = settings.send_lease_s * SEND_SHARE
        self._on_the_way: dict[ChannelName, int] = dict.fromkeys(channels, 0)
        self._paused_until: dict[ChannelName, float] = {}
        self._paces = {name: Pace(channel.per_second) for name, channel in channels.items()}

    async def run(self) -> None:
        """Run until cancelled; messages on their way then become unknown outcomes, which are asked after."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._doubt(), name="delivery.doubt")
            while True:
                await self._wakes.wait("outbox", spread(SWEEP_S))
                try:
                    for name, channel in self._channels.items():
                        await self._claim(group, name, channel)
                except Exception as error:
                    await _away_or_raise(error, "delivery")

    async def _claim(self, group: asyncio.TaskGroup, name: ChannelName, channel: Channel) -> None:
        pace = self._paces[name]
        while (free := SENDING_MAX - self._on_the_way[name]) > 0:
            if time.monotonic() < self._paused_until.get(name, 0.0):
                return
            room = pace.room(free)
            if room == 0:
                asyncio.get_running_loop().call_later(pace.wait_s(), self._wakes.wake, "outbox")
                return
            send_until = time.monotonic() + self._send_s
            claimed = await self._outbox.claim(name, room)
            pace.take(len(claimed))
            for delivery in claimed:
                self._on_the_way[name] += 1
                group.create_task(self._deliver(channel, delivery, send_until))
            SENDING.labels(name).set(self._on_the_way[name])
            if len(claimed) < room:
                return

    async def _deliver(self, channel: Channel, delivery: Delivery, send_until: float) -> None:
        try:
            if time.monotonic() > send_until:
                # We were stopped since the claim, and somebody else may be sending it by now.
                log.warning("outbox.lease_lost", outbox_id=delivery.message.outbox_id)
                return
            outcome = await self._send(channel, delivery)
            if outcome is not None:
                SENDS.labels(channel.name, outcome.state).inc()
                await self._outbox.settle(_piecewise(channel, delivery, outcome))
        except StoreUnavailable:
            log.warning("outbox.store_away", outbox_id=delivery.message.outbox_id)
        except Exception as error:
            # PostgreSQL went away at the gate; when the lease ends, the outcome is asked after.
            if not is_away(error):
                raise
            log.warning("outbox.store_away", outbox_id=delivery.message.outbox_id)
        finally:
            self._on_the_way[channel.name] -= 1
            self._wakes.wake("outbox")

    async def _admit(self, delivery: Delivery) -> OutboundMessage | Outcome | None:
        """The message as it may be sent where there is a 24-hour window; None when it is held or lets others go first.

        By what template it goes is written down before it does: an unknown outcome is asked after by its text.
        """
        message = delivery.message
        row = message.outbox_id, message.attempt
        decision = await gate.decision(self._db, delivery)
        match decision:
            case Refuse(reason):
                return Outcome(*row, "refused", error=reason)
            case Hold(reason):
                await self._outbox.hold(delivery, reason)
                log.info("outbox.held", outbox_id=message.outbox_id)
                return None
            case FreeText() if delivery.standing is not None and delivery.standing.gives_way:
                await self._outbox.give_way(delivery)
                return None
        use = decision.use if isinstance(decision, UseTemplate) else None
        if use != message.template:
            if not await self._outbox.use_template(delivery, use):
                return None
            message = replace(message, template=use)
        return message

    async def _send(self, channel: Channel, delivery: Delivery) -> Outcome | None:
        """Send once and say how it went; None when that is settled already."""
        message = delivery.message
        row = message.outbox_id, message.attempt
        if delivery.is_stale:
            return Outcome(*row, "refused", error="Too old to be of use; it could not be sent in time.")
        if delivery.unreachable and delivery.kind != "reply":
            # What answers a message is tried: whoever wrote it is there, and the news of it may be on its way.
            return Outcome(*row, "refused", error="The person has blocked us, or we were removed from the group.")
        tries = message.attempt - message.piece
        if delivery.standing is not None:
            admitted = await self._admit(delivery)
            if not isinstance(admitted, OutboundMessage):
                return admitted
            message = admitted
        try:
            if 0 < message.piece >= channel.pieces(message):
                # A newer version shows it in fewer pieces, and all of them are sent.
                return Outcome(*row, "sent")
            async with asyncio.timeout(self._send_s):
                return Outcome(*row, "sent", provider_message_id=await channel.send(message))
        except OutsideWindow as refusal:
            log.info("outbox.outside_window", outbox_id=message.outbox_id, channel=channel.name)
            await self._outbox.shut_out(message.outbox_id, attempt=message.attempt, error=str(refusal))
            return None
        except Undeliverable as refusal:
            if isinstance(refusal, OptedOut):
                await opt_out.stopped_by_provider(self._db, message.recipient)
            log.warning("outbox.refused", outbox_id=message.outbox_id, channel=channel.name)
            return Outcome(*row, "refused", error=str(refusal))
        except NotSent as trouble:
            wait_s = (
                trouble.retry_after_s if trouble.retry_after_s is not None else min(2.0 ** min(tries, 10), RETRY_S_MAX)
            )
            if trouble.whole_channel:
                self._paused_until[channel.name] = time.monotonic() + wait_s
            log.warning("outbox.not_sent", outbox_id=message.outbox_id, channel=channel.name, wait_s=wait_s)
            return Outcome(*row, "pending", error=str(trouble), wait_s=wait_s, final=False)
        except (OutcomeUnknown, TimeoutError) as trouble:
            log.warning("outbox.unknown", outbox_id=message.outbox_id, channel=channel.name)
            error = str(trouble) or "No answer in time."
            return Outcome(*row, "unknown", error=error, wait_s=ASK_AFTER_S[0], final=False)
        except Exception as error:
            # A bug in the channel: whether the request left is not known, and staff should see it.
            log.exception("outbox.failed", outbox_id=message.outbox_id, channel=channel.name)
            return Outcome(
                *row,
                "unknown",
                error=f"Failed inside the channel: {type(error).__name__}",
                wait_s=ASK_AFTER_S[0],
                final=False,
            )

    async def _doubt(self) -> None:
        """Ask after unknown outcomes, and find rows that dead processes were sending."""
        while True:
            try:
                await self._outbox.abandon()
                if WINDOWED & self._channels.keys():
                    self._looked = await self._outbox.release(self._looked)
                for name, channel in self._channels.items():
                    for delivery in await self._outbox.claim_in_doubt(name, ASKING_MAX):
                        outcome = _piecewise(channel, delivery, await self._ask(channel, delivery))
                        if await self._outbox.settle(outcome):
                            log.info("outbox.asked", outbox_id=delivery.message.outbox_id, state=outcome.state)
                self._wakes.wake("outbox")
            except StoreUnavailable:
                log.warning("outbox.store_away")
            except Exception as error:
                await _away_or_raise(error, "delivery.doubt")
            await asyncio.sleep(spread(SWEEP_S))

    async def _ask(self, channel: Channel, delivery: Delivery) -> Outcome:
        """What the provider says of a message we are unsure of; only a late "no" lets it be sent again."""
        message = delivery.message
        row = message.outbox_id, message.attempt
        since_s = (delivery.now - delivery.sending_at).total_seconds()
        last = delivery.asked >= len(ASK_AFTER_S)
        wait_s = ASK_AFTER_S[min(delivery.asked, len(ASK_AFTER_S) - 1)]
        try:
            async with asyncio.timeout(self._send_s):
                found = await channel.find_sent(message, delivery.sending_at, await self._outbox.provider_ids(message))
        except Unknowable as nobody_knows:
            return Outcome(*row, "unknown", error=f"It may have been sent; {nobody_knows}")
        except Exception as error:
            if is_away(error) and not isinstance(error, TimeoutError):
                raise
            log.warning("outbox.asking_failed", outbox_id=message.outbox_id, error=type(error).__name__)
            return Outcome(
                *row,
                "unknown",
                error="It may have been sent; the provider could not be asked.",
                wait_s=wait_s,
                final=last,
            )
        if found is not None:
            return Outcome(*row, "sent", provider_message_id=found)
        if since_s >= self._certain_s:
            return Outcome(*row, "pending", error="The provider does not know it; sending again.", final=False)
        wait_s = min(wait_s, max(self._certain_s - since_s, ASK_AFTER_S[0]))
        return Outcome(*row, "unknown", error="It may have been sent; asking the provider.", wait_s=wait_s, final=False)


async def watch_handoffs(handoffs: Handoffs) -> None:
    """End what ran out and hear who asks for the bot again, every SWEEP_S, until cancelled."""
    while True:
        try:
            await handoffs.look()
        except Exception as error:
            await _away_or_raise(error, "handoffs")
        await asyncio.sleep(spread(SWEEP_S))


def _piecewise(channel: Channel, delivery: Delivery, outcome: Outcome) -> Outcome:
    """What the outcome of a piece means for the message: when it is done with, the next one's turn."""
    done = outcome.state == "sent" or (outcome.state == "unknown" and outcome.final)
    if not done or delivery.message.piece + 1 >= channel.pieces(delivery.message):
        return outcome
    return outcome.going_on()


async def _away_or_raise(error: Exception, loop: str) -> None:
    """PostgreSQL away is waited for; anything else is a bug and ends the loop."""
    if not is_away(error):
        raise error
    log.warning("store.away", loop=loop, error=type(error).__name__)
    await asyncio.sleep(AWAY_S)


async def run(wired: Services) -> None:
    """Both runners and the watch over hand-offs, until cancelled."""
    async with asyncio.TaskGroup() as group:
        handoffs = Handoffs(wired.db, wired.wakes, wired.settings)
        group.create_task(watch_handoffs(handoffs), name="handoffs")
        if wired.turn_deps.models is not None:
            group.create_task(wired.turn_deps.models.warm(), name="models.warm")
        group.create_task(
            TurnRunner(wired.turns, wired.turn_deps, wired.wakes, channels=wired.channels).run(), name="turns"
        )
        group.create_task(
            DeliveryRunner(wired.db, wired.outbox, wired.channels, wired.wakes, wired.settings).run(), name="delivery"
        )


async def main(_args: argparse.Namespace) -> int:
    """`python3 -m bot turns`: the runners in a process of their own."""
    settings = Settings()
    configure(settings)
    async with services(settings) as wired:
        log.info("turns.ready")
        await run(wired)
    return 0
