"""XML from anywhere, read without believing it: no document types, no entities, no depth without end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from tinyopt.errors import BoardError

_DEEPEST = 64
_MOST_ELEMENTS = 2_000_000
_LONGEST_TEXT = 100_000


@dataclass
class Element:
    """``line``: where it starts in the file, counted from one; ``text``: what it holds beside its children."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, *tags: str) -> Iterator[Element]:
        """Children with one of these tags, in order."""
        return (child for child in self.children if child.tag in tags)

    def first(self, tag: str) -> Element | None:
        return next(self.all(tag), None)

    def text_of(self, tag: str) -> str:
        """The text of the first such child; empty where there is none."""
        child = self.first(tag)
        return child.text.strip() if child is not None else ""


def parse_xml(data: bytes, origin: str) -> Element:
    """The root element of a document. ``origin``: what it is called in messages.

    Raises:
        BoardError: it is no XML, has a document type or entities, or is nested or long beyond reason.
    """
    reader = _Reader(origin)
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BoardError(f"{origin} is no XML that can be read: {error}") from None
    except (LookupError, ValueError) as error:
        raise BoardError(f"{origin} is in an encoding that cannot be read: {error}") from None
    if reader.root is None:
        raise BoardError(f"{origin} is no XML that can be read: it holds no element")
    return reader.root


class _Reader:
    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.root: Element | None = None
        self.open: list[Element] = []
        self.count = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.EntityDeclHandler = self.refuse

    def refuse(self, *_: object) -> None:
        raise BoardError(
            f"{self.origin} declares a document type or entities (line {self.parser.CurrentLineNumber}), "
            "which pack descriptions have not and which can hide attacks: it is not read"
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.open) >= _DEEPEST or self.count > _MOST_ELEMENTS:
            raise BoardError(
                f"{self.origin} has more elements, or deeper ones, than a pack description (line "
                f"{self.parser.CurrentLineNumber})"
            )
        element = Element(tag, attributes, self.parser.CurrentLineNumber)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)

    def end(self, _: str) -> None:
        self.open.pop()

    def characters(self, text: str) -> None:
        element = self.open[-1]
        if len(element.text) < _LONGEST_TEXT:
            element.text += text
