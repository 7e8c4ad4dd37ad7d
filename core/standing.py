"""What help says of this chat and moment: what waits for the person, who does not answer, what could be linked."""

from core.catalog import Catalog
from core.db import Database
from core.language import Saying
from core.messages import Address
from core.providers import Providers
from core.settings import Settings

WAITS = Saying(
    "I wait for the code below what I showed you, or for a “no”.",
    "Nasubiri nambari iliyo chini ya nilichokuonyesha, au “hapana”.",
)
AWAY = Saying("{title}: no answer from there just now, try again in a minute.",
              "{title}: hakuna jibu kutoka huko kwa sasa, jaribu tena baada ya dakika.")  # fmt: skip
ALONE = Saying(
    "You are known in this chat alone: “link my account” joins another.",
    "Unajulikana kwenye gumzo hili tu: “unganisha akaunti yangu” huliunganisha na lingine.",
)
STANDING = """
SELECT (SELECT count(*) FROM identity o WHERE o.person_id = i.person_id AND o.channel <> 'email') AS chats,
       EXISTS (SELECT FROM confirmation c WHERE c.identity_id = i.id AND c.state = 'pending'
                 AND c.expires_at > clock_timestamp()) AS waits
FROM identity i WHERE (i.channel, i.account, i.provider_id) = ($1, $2, $3)
"""


async def lines(
    db: Database, catalog: Catalog, providers: Providers, settings: Settings, sender: Address, language: str
) -> str:
    """A line for each such thing, in the person's language; empty where there is none. In company nothing of theirs."""
    found = [
        AWAY.filled(title=connector.title)
        for connector in catalog.on
        if connector.asks is not None and providers.is_away(connector.asks(settings))
    ]
    if sender.is_private:
        row = await db.pool.fetchrow(STANDING, sender.channel.value, sender.account, sender.person)
        if row is not None and row["waits"]:
            found.insert(0, WAITS)
        if row is not None and row["chats"] == 1 and "link_account" in catalog:
            found.append(ALONE)
    return "\n".join(one.to(language) for one in found)
