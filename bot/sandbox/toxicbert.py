"""toxic-bert as the Hugging Face router serves it; any token that begins with hf_ is good.

One token has a fate: hf_loading finds the model still loading, for ever. Its taste is its own: a few English words.
"""

import json
import re

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Faults
from bot.sandbox.truth import Disk, Journal, JsonObject

PATH = "/hf-inference/models/unitary/toxic-bert"
INPUTS_MAX = 64
LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
TASTE = {
    "toxic": r"\b(?:idiot|stupid|hate you|shut up|fuck\w*|kill you)\b",
    "insult": r"\b(?:idiot|stupid)\b",
    "obscene": r"\bfuck\w*\b",
    "threat": r"\bkill you\b",
}


class ToxicBert:
    """The simulator of one model."""

    name = "toxicbert"

    def __init__(self, disk: Disk) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()

    def too_many(self, retry_after_s: int) -> Answer:
        """The router's 429."""
        answer = answer_json({"error": "Too many requests."}, 429)
        answer.headers = {"Retry-After": str(retry_after_s)}
        return answer

    def broken(self) -> Answer:
        """The router's 500."""
        return answer_json({"error": "Internal Server Error"}, 500)

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        if call.path.rstrip("/") != PATH:
            return answer_json({"error": "Model not found"}, 404)
        if call.method != "POST":
            return answer_json({"error": "Method Not Allowed"}, 405)
        token = call.headers.get("Authorization", "")
        if not token.startswith("Bearer hf_"):
            return answer_json({"error": "Invalid username or password."}, 401)
        if token == "Bearer hf_loading":  # noqa: S105  a name, not a secret
            return answer_json({"error": "Model unitary/toxic-bert is currently loading", "estimated_time": 20.0}, 503)
        try:
            body = json.loads(call.body)
            given = body["inputs"]
            inputs = [given] if isinstance(given, str) else given
            good = isinstance(inputs, list) and 0 < len(inputs) <= INPUTS_MAX
            good = good and all(isinstance(one, str) for one in inputs)
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            return answer_json({"error": ["Error in `inputs`: a string or a list of strings is wanted"]}, 400)
        row: JsonObject = {"kind": "read", "inputs": len(inputs)}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return answer_json([self._scores(text) for text in inputs])

    @staticmethod
    def _scores(text: str) -> list[JsonObject]:
        scores = {label: 0.97 if re.search(TASTE.get(label, "(?!)"), text.lower()) else 0.002 for label in LABELS}
        ranked = sorted(scores.items(), key=lambda pair: -pair[1])
        return [{"label": label, "score": score} for label, score in ranked]
