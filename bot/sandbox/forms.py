"""Multipart forms, as the simulators are sent them: fields with words, and files with their names and types."""

import email
import hashlib
import re
from dataclasses import dataclass
from typing import TypeAlias

from bot.sandbox.truth import JsonObject

PARTS_MAX = 64
_BOUNDARY = re.compile(r'boundary="?([^";\r\n]{1,100})"?')


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in a form: the name and type that its sender gave, and its bytes."""

    name: str
    media_type: str
    data: bytes

    def told(self) -> JsonObject:
        """What a truth log keeps of it."""
        return {
            "name": self.name,
            "type": self.media_type,
            "size": len(self.data),
            "sha256": hashlib.sha256(self.data).hexdigest(),
        }


Form: TypeAlias = dict[str, str | Upload]


def multipart(content_type: str, body: bytes) -> Form:
    """The fields of a multipart/form-data body. Raises ValueError for one that is none, or is not whole."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ValueError("a multipart form names its boundary")
    _, *sections = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
    if not sections or not sections[-1].startswith(b"--") or len(sections) > PARTS_MAX:
        raise ValueError("the form is not whole")
    form: Form = {}
    for section in sections[:-1]:
        head, gap, data = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        said = email.message_from_string(head.decode())
        name = said.get_param("name", header="content-disposition")
        if not gap or not isinstance(name, str):
            raise ValueError("a part of a form has a name")
        filename = said.get_filename()
        form[name] = data.decode() if filename is None else Upload(filename, said.get_content_type(), data)
    return form
