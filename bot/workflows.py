"""`python3 -m bot workflow …`: hand in a workflow, start it, approve its steps, and see how its runs went."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from bot.adminlink import embedded, simulated
from bot.keys import key_list_of
from bot.servers.folder import default_folder
from connectors import CONNECTORS
from core.catalog import Catalog
from core.db import Database, is_away
from core.errors import StoreUnavailable, UserError
from core.settings import Settings
from core.wake import Wakes
from core.workflows import InvalidWorkflow, parse_draft
from jobs import definitions

FILE_BYTES_MAX = 262_144
STATES = {"pause": "paused", "resume": "active", "delete": "deleted"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `workflow`."""
    about = f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL"
    parser.add_argument("--data", type=Path, help=about)
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", dest="verb", required=True)
    add = verbs.add_parser("add", help="hand in a workflow")
    add.add_argument("file", metavar="FILE.json", help="the definition; - reads standard input")
    add.add_argument("--person", type=_uuid, metavar="ID", help="whose it is; it speaks where they last wrote")
    add.add_argument("--conversation", type=_uuid, metavar="ID", help="where it speaks")
    start = verbs.add_parser("start", help="start a run")
    start.add_argument("workflow", metavar="NAME|ID")
    start.add_argument("--trigger", default="{}", metavar="JSON", help='variables: \'{"city": "Kisumu"}\'')
    verbs.add_parser("list", help="every workflow")
    runs = verbs.add_parser("runs", help="the newest runs")
    runs.add_argument("workflow", metavar="NAME|ID", nargs="?")
    show = verbs.add_parser("show", help="one run and its steps")
    show.add_argument("run", metavar="RUN")
    for verb in ("approve", "reject"):
        decide = verbs.add_parser(verb, help=f"{verb} the step a run waits for")
        decide.add_argument("run", metavar="RUN")
        decide.add_argument("step", metavar="STEP")
        decide.add_argument("--by", default="staff", metavar="WHO", help="who decided (default: staff)")
    for verb, about in (
        ("pause", "no new runs until resumed; runs under way go on"),
        ("resume", "start by itself again"),
        ("delete", "for good; runs under way stop at their next step"),
    ):
        change = verbs.add_parser(verb, help=about)
        change.add_argument("workflow", metavar="NAME|ID")


async def main(args: argparse.Namespace) -> int:
    """Do it and return 0; raises UserError or StoreUnavailable with a sentence to print."""
    folder = args.data or default_folder()
    settings = simulated(Settings(), folder)
    db = await Database.connect(settings.database_url or embedded(folder), key_list_of(settings, folder), pool_size=2)
    try:
        await _do(args, settings, folder, db)
    except Exception as error:
        if not is_away(error):
            raise
        raise StoreUnavailable("PostgreSQL does not answer; nothing was changed.") from error
    finally:
        await db.close()
    return 0


async def _do(args: argparse.Namespace, settings: Settings, folder: Path, db: Database) -> None:
    wakes = Wakes(db)
    match args.verb:
        case "add":
            draft = parse_draft(_read(args.file))
            person_id, conversation_id = await definitions.place(
                db, person_id=args.person, conversation_id=args.conversation
            )
            identifier = await definitions.add(
                db, wakes, draft, Catalog(CONNECTORS, settings, confirms=True), person_id=person_id,
                conversation_id=conversation_id, default_timezone=settings.default_timezone,
            )  # fmt: skip
            print(identifier)
        case "start":
            definition = await definitions.find(db, args.workflow)
            print(await definitions.request_run(db, wakes, definition.id, _json(args.trigger, "--trigger")))
        case "list":
            _table(
                ("id", "name", "state", "starts by itself"),
                [
                    (str(one.id), one.title, one.state, f"{one.cron} {one.timezone}" if one.cron else "")
                    for one in await definitions.listed(db)
                ],
            )
        case "runs":
            of = (await definitions.find(db, args.workflow)).id if args.workflow else None
            _table(
                ("run", "state", "began", "ended", "waits for", "error"),
                [
                    (one.workflow_id, one.state, _time(one.created_at), _time(one.finished_at), one.waiting_for or "",
                     definitions.outcome_line(one.ending))
                    for one in await definitions.runs(db, of)
                ],
            )  # fmt: skip
        case "show":
            run, steps = await definitions.run_with_steps(db, args.run)
            print(f"{run.workflow_id}  {run.state}  {definitions.outcome_line(run.ending)}".rstrip())
            _table(
                ("step", "state", "at", "result"),
                [(step.step_id, step.state, _time(step.at), _line(step.variables or {})) for step in steps],
            )
        case "approve" | "reject":
            await _decide(args, settings, folder, db)
        case _:
            definition = await definitions.find(db, args.workflow)
            await definitions.set_state(db, wakes, definition.id, STATES[args.verb])
            print(f"{definition.title}: {STATES[args.verb]}")


async def _decide(args: argparse.Namespace, settings: Settings, folder: Path, db: Database) -> None:
    from temporalio.service import RPCError

    from jobs.temporal import connect, decide
    from jobs.workflows import Decision

    host = settings.temporal_host or _embedded_temporal(folder)
    try:
        client = await connect(settings.model_copy(update={"temporal_host": host}), db)
    except (RuntimeError, RPCError):
        raise UserError("Temporal does not answer; try again when it runs.") from None
    print(await decide(client, args.run, Decision(args.step, args.verb == "approve", args.by)))


def _embedded_temporal(folder: Path) -> str:
    """Where the Temporal of `up` listens: its port is another at each start, and stands among its arguments."""
    try:
        pid = int((folder / "temporal.pid").read_text().split()[0])
        words = psutil.Process(pid).cmdline()
        return f"127.0.0.1:{words[words.index('--port') + 1]}"
    except (OSError, ValueError, IndexError, psutil.Error):
        raise UserError("Temporal does not run here; set TEMPORAL_HOST, or start `python3 -m bot up`.") from None


def _read(name: str) -> object:
    try:
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if name == "-" else _head(Path(name))
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}.") from None
    if len(raw) > FILE_BYTES_MAX:
        raise InvalidWorkflow(f"A definition has at most {FILE_BYTES_MAX} bytes.")
    try:
        return _json(raw.decode(), name)
    except UnicodeDecodeError:
        raise InvalidWorkflow(f"{name} is not UTF-8.") from None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX + 1)


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidWorkflow(f"{where} is nested too deep.") from None
    except ValueError as error:
        line = f": {error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidWorkflow(f"{where} is not JSON{line}.") from None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError("an id looks like 0b5c3c1e-6f0e-4b7e-9a53-0c1f5d3c2a11") from None


def _line(variables: Mapping[str, Any]) -> str:
    return json.dumps(variables, ensure_ascii=False)[:200]


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at else ""


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    for row in (titles, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
