"""Chromium as every browser test starts it, and what axe finds on its pages."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Error, Page, async_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PLAYWRIGHTS_OWN = (
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled",
    "PreconnectToSearch",
)  # fmt: skip
"""Features that Playwright turns off; Chromium heeds the last list alone."""
ADDRESS_BAR = ("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup")
"""Pages under an address bar that nobody sees: each first tab of a context loads them, for a second of a processor."""
ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", f"--disable-features={','.join((*PLAYWRIGHTS_OWN, *ADDRESS_BAR))}",
)  # fmt: skip
RELOADS_MAX = 2
AXE = """axe.run({resultTypes: ["violations"]}).then(
  ({violations}) => violations.map(({id, nodes}) => [id, ...nodes.map(({html}) => html)]))"""


@asynccontextmanager
async def started(*more: str) -> AsyncIterator[Browser]:
    """A headless Chromium, with more arguments; every context of it has cookies, storage and a cache of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGS, *more])
        yield browser
        await browser.close()


async def violations(page: Page) -> list[list[str]]:
    """What axe finds wrong with a page: for each rule its id and the HTML of what breaks it.

    A page that loads itself anew meanwhile is looked at again, RELOADS_MAX times.
    """
    for reload in range(RELOADS_MAX + 1):
        try:
            if await page.evaluate("typeof axe === 'undefined'"):
                await page.evaluate(AXE_SCRIPT)
            found: list[list[str]] = await page.evaluate(AXE)
            break
        except Error as error:
            if "navigation" not in error.message or reload == RELOADS_MAX:
                raise
            await page.wait_for_load_state()
    return found
