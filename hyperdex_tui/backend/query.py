"""What a search asks for: terms, each a regular expression on one field or on the whole row.

    mm q_proj            both are found in the row
    unit:sma op:softmax  in that field
    layer:3 "r. = "      quotes keep a space inside a term

A row is an instruction as it is written (`SXE mm v[0], v[64], s3, ...`, single
spaces) and the names behind it: node, op, tensor, module, region, layer. A term
looks into each of them by itself, so `^` and `$` are the ends of one, and no
match reaches from one into the next. A term without capitals ignores case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

INSTRUCTION_FIELDS = ("unit", "opcode", "text")
NAME_FIELDS = ("node", "op", "tensor", "region", "layer")
FIELDS = (*INSTRUCTION_FIELDS, *NAME_FIELDS)
HINT = "regex; unit: opcode: op: tensor: region: layer: limit it to a field"

_TERM = re.compile(r"""\s*(?:(?P<field>[a-z]+):)?(?:"(?P<quoted>[^"]*)"|(?P<bare>\S+))""")
_PLAIN = re.compile(r"[\w .,:=@#/-]*")
_ESCAPES = re.compile(r"\\.", re.DOTALL)


class QueryError(ValueError):
    """The user's text is no query; the message says why."""


@dataclass(frozen=True, slots=True)
class Term:
    """One regular expression and the field it looks into; "" is every field.

    `is_exact`: case matters even where the pattern has no capital.
    """

    field: str
    pattern: str
    is_exact: bool = False

    @property
    def folds_case(self) -> bool:
        """Whether case does not matter."""
        return not self.is_exact and not any(char.isupper() for char in _ESCAPES.sub("", self.pattern))

    @property
    def literal(self) -> str | None:
        """The text the pattern stands for when it has no special character (a dot is none here), else None."""
        return self.pattern if _PLAIN.fullmatch(self.pattern) and "." not in self.pattern else None

    def compiled(self) -> re.Pattern[str]:
        """The regular expression; where case does not matter, for text in lower case."""
        return re.compile(self.pattern)


def parse_query(text: str) -> tuple[Term, ...]:
    """The terms of a query; a row must satisfy all of them.

    Raises:
        QueryError: a term is not a regular expression.
    """
    terms = []
    for match in _TERM.finditer(text.strip()):
        field, pattern = match["field"] or "", match["quoted"] if match["quoted"] is not None else match["bare"]
        if field and field not in FIELDS:
            field, pattern = "", f"{field}:{pattern}"
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise QueryError(f"{pattern!r} is not a regular expression: {error}") from None
        terms.append(Term(field, pattern))
    return tuple(terms)


def region_query(name: str) -> tuple[Term, ...]:
    """The query for the instructions that read or write a region."""
    return (Term("region", f"^{re.escape(name)}$", is_exact=True),)


def tensor_query(name: str) -> tuple[Term, ...]:
    """The query for the instructions of a tensor."""
    return (Term("tensor", f"^{re.escape(name)}$", is_exact=True),)
