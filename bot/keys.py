"""`keys`: the keys that wrap the rooms' keys: make, list, rotate and remove them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bot.cli import settings_complaint
from bot.servers.folder import KEY_FILE, default_folder
from core.crypto import KEY_ID, KeyList, key_file, write_keys
from core.errors import MathiaError, UserError

if TYPE_CHECKING:
    from core.db import Database
    from core.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with them."""
    parser.add_argument("--data", type=Path, help="the data folder that `up` uses")
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    verbs.add_parser("new", help="print a line for .env with a new key")
    verbs.add_parser("list", help="the keys, and how many keys of the database each wraps")
    verbs.add_parser("rotate", help="a new key, and everything wrapped by it, while Mathia runs")
    remove = verbs.add_parser("remove", help="take a key out of the file that wraps nothing any more")
    remove.add_argument("id", help="the key's id, as `list` shows it")


async def main(args: argparse.Namespace) -> int:
    """Do it. Raises MathiaError with what to do."""
    if args.what == "new":
        print(f"MATHIA_KEYS={KeyList.new().written()}")
        return 0
    from bot.adminlink import embedded
    from core.db import Database
    from core.settings import Settings

    if complaint := settings_complaint():
        raise UserError(complaint)
    settings = Settings()
    folder = args.data or default_folder()
    keys = key_list_of(settings, folder)
    if keys is None:
        raise UserError("There are no keys: set MATHIA_KEYS, or name the data folder of `up` with --data.")
    # Keys in the environment are somebody else's to change; those in a file are ours.
    file = None if settings.mathia_keys.get_secret_value() else Path(settings.mathia_keys_file or folder / KEY_FILE)
    db = await Database.connect(settings.database_url or embedded(folder), keys, pool_size=2)
    try:
        match args.what:
            case "list":
                await _list(db, keys)
            case "rotate":
                await _rotate(db, keys, file)
            case "remove":
                await _remove(db, keys, file, args.id)
    finally:
        await db.close()
    return 0


def key_list_of(settings: "Settings", folder: Path) -> KeyList | None:
    """The keys of the settings, else those in the data folder; None where there are neither."""
    if settings.key_list is not None:
        return settings.key_list
    path = folder / KEY_FILE
    return key_file(path) if path.exists() else None


async def _list(db: "Database", keys: KeyList) -> None:
    from core.rotation import wrapped_under

    for kek, count in (await wrapped_under(db, keys.ids)).items():
        said = "newest, wraps what is new" if kek == keys.newest else ""
        if kek not in keys.ids:
            said = "MISSING from the list: what it wraps cannot be read"
        elif not said and not count:
            said = "wraps nothing: may be removed"
        print(f"{kek:32} {count:>9,}  {said}".rstrip())


async def _rotate(db: "Database", keys: KeyList, file: Path | None) -> None:
    from core.rotation import rewrap, wrapped_under

    counts = await wrapped_under(db, keys.ids)
    # A newest key that wraps nothing while others do is one that was just added, or a rotation that was stopped.
    begun = any(count for kek, count in counts.items() if kek != keys.newest)
    if file is None and not begun:
        print(_by_environment(keys))
        return
    if file is not None and not begun:
        keys = _with_new(keys)
        write_keys(file, keys)
        print(f"{file} has the new key {keys.newest}. Copy it to where you keep its copy, before anything else.")
    if file is not None:
        keys = KeyList.read(file)
    print(f"{await rewrap(db, keys):,} keys are wrapped by {keys.newest} now; nothing else wraps any.")
    for kek in keys.ids[1:]:
        how = (
            f"`python3 -m bot keys remove {kek}`"
            if file is not None
            else f"take {kek}:… out of MATHIA_KEYS of every process, and start each again"
        )
        print(f"{kek} may be removed: {how}. Keep it with any backup from before today, which it opens.")


HOW_BY_ENVIRONMENT = """\
MATHIA_KEYS is in the environment, so you change it, and every process has to know the new key before any uses it:
1. Put the new key LAST in MATHIA_KEYS of every process, and start one after the other again:
   {line}
2. When all run with it, put it FIRST everywhere, and start one after the other again.
3. When all run with that, run `python3 -m bot keys rotate` once more, with the same MATHIA_KEYS. It may be stopped.
4. It says which keys may be removed. Take those out everywhere, and start one after the other again.
Keep a copy of the new key ({new}) apart from the database's backups before step 1."""


def _by_environment(keys: KeyList) -> str:
    """What to do, with the list that has a new key behind the others: the only time it is shown."""
    new = _with_new(keys)
    line = f"MATHIA_KEYS={keys.written()},{new.without(*keys.ids).written()}"
    return HOW_BY_ENVIRONMENT.format(new=new.newest, line=line)


def _with_new(keys: KeyList) -> KeyList:
    try:
        return keys.with_new()
    except ValueError as error:
        raise UserError(f"No new key: {error}. `keys list` shows which may be removed.") from error


async def _remove(db: "Database", keys: KeyList, file: Path | None, name: str) -> None:
    from core.rotation import StillNeeded, settled

    if not KEY_ID.fullmatch(name) or name not in keys.ids:
        raise UserError("There is no such key; `python3 -m bot keys list` shows all.")
    if name == keys.newest:
        raise UserError(f"{name} is the newest key, which wraps what is new. `keys rotate` makes a newer one.")
    try:
        await settled(db, name)
        if file is None:
            print(f"{name} wraps nothing. Take it out of MATHIA_KEYS of every process, and start each again.")
            return
        write_keys(file, keys.without(name))
        try:
            # Whoever was storing a key wrapped by it a moment ago has done so by now.
            await settled(db, name)
        except BaseException:
            write_keys(file, keys)
            raise
    except StillNeeded as error:
        raise MathiaError(
            f"{name} wraps {error.count:,} keys of this database; removing it would lose what they seal."
            " Run `python3 -m bot keys rotate` first."
        ) from error
    print(f"{name} is removed. Backups from before the rotation need it: keep its copy as long as you keep those.")
