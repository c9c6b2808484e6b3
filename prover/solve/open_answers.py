"""Statements that leave their answer open, as in PutnamBench and formal-conjectures.

| source | read as |
|---|---|
| `answer(sorry) ↔ P`, or `abbrev x : Prop := sorry` and `x ↔ P` | the statement with True for the answer, `P`; the statement with False for it is tried too |
| `answer(x)` | `x` |
| any other `answer(sorry)`, or `abbrev x : T := sorry` | a variable: the statement has to hold for every value |

Thus no `sorry` is left that a proof could rest on, and two open answers are never equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice

from prover.lean.declarations import DEFINITIONS, Declarations, statement_in
from prover.lean.text import code_words, edited, masked
from prover.lean.theorem import Theorem
from prover.solve.negation import placed, split_statement, type_column

_ANSWER = re.compile(r"(?<![\w.])answer\s*\(\s*sorry\s*\)")

TRUE, FALSE = "_root_.True", "_root_.False"
"""No local variable and no open namespace can give these names another meaning."""

MAX_DEFINITIONS = 50
"""Maximum number of definitions that are examined: the last ones of the context."""

_GIVEN = re.compile(r"(?<![\w.])answer\((?!\s*sorry\s*\))")


def with_open_answers(theorem: Theorem) -> Theorem:
    """The theorem without the `sorry`s that stand for its answers."""
    if "answer" not in {word for word, _ in code_words(theorem.context)}:
        # formal-conjectures marks given answers, too. Its `answer(x)` is `x`.
        theorem = replace(theorem, statement=_without_marks(theorem.statement or ""))
    return _answers_in_statement(_answers_in_context(theorem))


def _without_marks(statement: str) -> str:
    marks = [mark.span() for mark in _GIVEN.finditer(masked(statement))]
    return _with(statement, marks, ["("] * len(marks))


def _answers_in_context(theorem: Theorem) -> Theorem:
    source = Declarations(theorem.context)
    statement = theorem.statement or ""
    # Backwards, so that earlier indices stay valid.
    for at in reversed(source.starts(DEFINITIONS)[-MAX_DEFINITIONS:]):
        name = source.head(at).name
        if (stop := source.end_of_sorry(at)) is None or not name or "." in name:
            continue
        if sum(word == name for word, _ in source.words) > 1:  # in another definition, which a variable would change
            continue
        context, used = theorem.context, _uses(name, statement)
        after = _break(source, stop) + context[stop:]
        signature, column = statement_in(source.text, source.head(at).end, source.value(at))
        parameters, type_ = split_statement(signature) or ("", "")
        if not used or not type_:
            continue
        if (
            theorem.answer == ""
            and not parameters
            and type_ == "Prop"
            and len(used) == 1
            and _is_asked(statement, *used[0])
        ):
            value = source.value(at)
            true, false = (f"{context[:value]}:= {x}{after}" for x in (TRUE, FALSE))
            claim = _other_side(statement, *used[0]) or statement
            theorem = replace(
                theorem, statement=claim, context=true, answer="proposition", if_false=(statement, false.strip("\n "))
            )
            continue
        start, commands = source.begin(at)
        first = column or 0  # only used for several lines
        of = placed(type_, type_column(signature, type_, first))
        of = f" ∀{placed(parameters, first)},{of}" if parameters else of
        variable = "\n".join([*(f"{c} in" for c in commands), f"variable ({name} :{of})"])
        theorem = replace(theorem, context=f"{context[:start]}\n{variable}{after}", answer="data", if_false=None)
    return replace(theorem, context=theorem.context.strip("\n "))


def _answers_in_statement(theorem: Theorem) -> Theorem:
    statement = theorem.statement or ""
    code = masked(statement)
    found = [m.span() for m in _ANSWER.finditer(code)]
    if not found:
        return theorem
    if len(found) == 1 and theorem.answer == "" and _is_asked(statement, *found[0]):
        true, false = (_with(statement, found, [x]) for x in (TRUE, FALSE))
        claim = _other_side(statement, *found[0]) or true
        return replace(theorem, statement=claim, answer="proposition", if_false=(false, theorem.context))
    names = _new_names(len(found), f"{theorem.context}\n{statement}")
    named = _with(statement, found, names)
    before, now = split_statement(statement), split_statement(named)
    if before is None or now is None:
        return theorem
    binders, type_ = now
    comment = "\n" * ("--" in binders)  # each part may end in a line comment
    for_all, column = f"∀ {' '.join(names)},", theorem.column
    type_at = type_column(named, type_, theorem.first_column)
    if _ANSWER.search(masked(before[0])):
        inner = placed(type_, type_at).removeprefix(" ") + "\n" * ("--" in type_)
        statement, column = f": {for_all} ∀{placed(binders, theorem.first_column)}{comment}, ({inner})", None
    else:
        statement = f"{binders}{comment} : {for_all}{placed(type_, type_at)}".strip()
    return replace(theorem, statement=statement, column=column, answer="data", if_false=None)


def _with(statement: str, spans: Sequence[tuple[int, int]], texts: Sequence[str]) -> str:
    """The statement with these texts at these places. In a statement of several lines, all other text keeps its column."""
    places = zip(spans, texts, strict=True)
    if "\n" not in statement:
        return edited(statement, ((*span, text) for span, text in places))
    return edited(statement, ((a, b, _as_wide(text, statement[a:b])) for (a, b), text in places)).rstrip()


def _as_wide(text: str, old: str) -> str:
    """A shorter text that ends at the column at which `old` ends."""
    last = old.rpartition("\n")[2]
    return f"({text}\n{')':>{len(last)}}" if "\n" in old else text.ljust(len(old))


def _break(source: Declarations, at: int) -> str:
    """A line break and spaces that keep the columns of the code that follows `at` in its line; nothing if none follows."""
    follows = source.code[at:].partition("\n")[0].strip()
    return "\n" + " " * (at - source.text.rfind("\n", 0, at) - 1) if follows else ""


def _new_names(number: int, source: str) -> list[str]:
    """Names that do not occur in the source, so that none of its binders captures them."""
    free = (name for i in count(1) if (name := f"answer_{i}") not in source)
    return [*islice(free, number)]


def _uses(name: str, statement: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(rf"(?<![\w.«]){re.escape(name)}(?![\w'!?»])", masked(statement))]


def _other_side(statement: str, start: int, stop: int) -> str | None:
    """The statement without `ANSWER ↔` at the start of its type, or `↔ ANSWER` at its end. None if it has neither."""
    code, at = masked(statement), _type_at(statement)
    first = re.fullmatch(r"\s*(\(\s*)?", code[at:start])
    after = re.match(r"(\s*\))?\s*(?:↔|<->)", code[stop:])
    if first is not None and after is not None and (first[1] is None) == (after[1] is None):
        end = stop + after.end()
        if "\n" in statement:  # all other text keeps its column
            return statement[:at] + re.sub(r"\S", " ", statement[at:end]) + statement[end:]
        return f"{statement[:at]} {statement[end:].strip()}"
    before = re.search(r"(?:↔|<->)\s*(\(\s*)?\Z", code[at:start])
    last = re.fullmatch(r"(\s*\))?\s*", code[stop:])
    if before is not None and last is not None and (before[1] is None) == (last[1] is None):
        return f"{statement[: at + before.start()].rstrip()}"
    return None


def _is_asked(statement: str, start: int, stop: int) -> bool:
    """Whether the text from `start` to `stop` is one side of an equivalence, or is declared a proposition, in the type of the
    statement. An answer in a hypothesis does not count."""
    if start < _type_at(statement):
        return False
    code = masked(statement)
    before, after = code[:start].rstrip(" \n("), code[stop:].lstrip(" \n)")
    return before.endswith(("↔", "<->")) or after.startswith(("↔", "<->")) or re.match(r":\s*Prop\b", after) is not None


def _type_at(statement: str) -> int:
    """Index of the type of a statement."""
    binders, _ = split_statement(statement) or ("", "")
    return masked(statement).index(":", len(binders)) + 1
