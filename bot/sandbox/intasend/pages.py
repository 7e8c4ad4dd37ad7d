"""The pages of the simulated IntaSend that a browser pays on: a form, waiting for the phone, and what came of it."""

from html import escape

from bot.sandbox.calls import Answer

SAFETY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
WAIT_S = 1
"""How often the waiting page looks again."""

STYLE = b"""
:root { color-scheme: light dark; --page: #eef0ef; --card: #fff; --line: #7a8782; --text: #17211d; --soft: #55625d;
  --accent: #0b6b4f; --on-accent: #fff; --bad: #a51d1d; }
@media (prefers-color-scheme: dark) { :root { --page: #101513; --card: #19201d; --line: #7f8d87; --text: #e8eeeb;
  --soft: #a3b0aa; --accent: #5cc6a0; --on-accent: #06281d; --bad: #ff9a92; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 16px; font: 400 16px/1.5 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto,
  "Noto Sans", sans-serif; color: var(--text); background: var(--page); }
main { max-width: 420px; margin: 0 auto; padding: 24px; background: var(--card); border-radius: 12px; }
h1 { margin: 0; font-size: 20px; font-weight: 600; }
h2 { margin: 24px 0 8px; font-size: 16px; font-weight: 600; }
.sum { margin: 4px 0 0; font-size: 28px; font-weight: 600; font-variant-numeric: tabular-nums; }
.soft { color: var(--soft); font-size: 14px; }
.bad { color: var(--bad); }
label { display: grid; gap: 4px; margin-bottom: 12px; color: var(--soft); font-size: 14px; }
input { min-height: 44px; padding: 0 12px; font: inherit; font-size: 16px; color: var(--text); background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; }
button, .button { display: block; width: 100%; min-height: 44px; padding: 10px 16px; font: inherit; font-weight: 500;
  text-align: center; text-decoration: none; color: var(--on-accent); background: var(--accent); border: 0;
  border-radius: 6px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""


def checkout_page(merchant: str, amount: str | None, currency: str, method: str | None, problem: str | None) -> Answer:
    """What to pay (None: as the payer likes) and how: M-Pesa, card, or the one `method`; `problem` is said above."""
    said = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    sum_ = f'<p class="sum">{escape(amount)}</p>' if amount else ""
    own = "" if amount else f'<label>Amount in {currency} <input name="amount" inputmode="decimal" required></label>'
    forms = ""
    if method in (None, "M-PESA") and currency == "KES":
        forms += (
            f'<h2>M-Pesa</h2><form method="post">{own}<input type="hidden" name="method" value="M-PESA">'
            '<label>Phone number <input name="phone" type="tel" autocomplete="tel" required></label>'
            "<button>Pay with M-Pesa</button></form>"
        )
    if method in (None, "CARD-PAYMENT"):
        forms += (
            f'<h2>Card</h2><form method="post">{own}<input type="hidden" name="method" value="CARD-PAYMENT">'
            '<label>Card number <input name="card" inputmode="numeric" autocomplete="cc-number" required></label>'
            "<button>Pay by card</button></form>"
            '<p class="soft">4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined.</p>'
        )
    return _page(f"Pay {merchant}", f"<h1>Pay {escape(merchant)}</h1>{sum_}{said}{forms}")


def waiting_page(url: str, phone: str) -> Answer:
    """Shown until somebody answers the prompt on their phone; looks at `url` again each WAIT_S."""
    body = (
        f'<h1>Look at your phone</h1><p role="status">M-Pesa asks +{escape(phone)} for a PIN.</p>'
        '<p class="soft">In the sandbox the phone is at /sandbox. This page goes on by itself.</p>'
    )
    return _page("Waiting for M-Pesa", body, refresh=f"{WAIT_S};url={url}")


def result_page(words: str, back: str | None, status: int = 200) -> Answer:
    """What came of it, and the way back to the merchant where there is one."""
    link = f'<p><a class="button" href="{escape(back)}">Back to the shop</a></p>' if back else ""
    return _page(words, f'<h1 role="status">{escape(words)}</h1>{link}', status=status)


def _page(title: str, body: str, *, refresh: str = "", status: int = 200) -> Answer:
    again = f'<meta http-equiv="refresh" content="{escape(refresh)}">' if refresh else ""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}<title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/intasend/pay.css"><link rel="icon" href="data:,"></head>'
        f'<body><main>{body}<p class="soft">IntaSend · sandbox</p></main></body></html>'
    )
    return Answer(status, html.encode(), "text/html; charset=utf-8", SAFETY)
