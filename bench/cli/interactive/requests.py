"""What a user types as an edit or a question, made into a request or refused in a sentence."""

from __future__ import annotations

import re

from editors.base import EditRequest

# A name: words that begin with a capital letter, also behind initials and hyphens.
_NAME = re.compile(r"[^\W\d_a-z][\w.'-]*(?: [^\W\d_a-z][\w.'-]*)*")
_FORM = "PROMPT => NEW ANSWER, or PROMPT => NEW ANSWER @ SUBJECT"


def question_of(text: str) -> str:
    """A question as it is asked.

    Raises:
        ValueError: nothing to ask.
    """
    return _text(text, "A question")


def request_of(prompt: str, target: str, subject: str | None, *, wanted: bool) -> EditRequest:
    """An edit of what was typed.

    Args:
        prompt: what the model is asked.
        target: what it shall answer.
        subject: whom or what the prompt is about; None looks for a name in it.
        wanted: whether the editor depends on the subject.

    Raises:
        ValueError: a part is missing, or the subject is wanted and not to be found in the prompt.
    """
    prompt, target = _text(prompt, "An edit's prompt"), _text(target, "An edit's new answer")
    if subject is not None:
        found = _as_spelt(_text(subject, "A subject"), prompt)
    else:
        names = names_in(prompt)
        found = names[0] if len(names) == 1 else None
    if found is None and wanted:
        raise ValueError(_missing(prompt, subject))
    return EditRequest(prompt=prompt, target=target, subject=found or subject or "")


def names_in(prompt: str) -> list[str]:
    """Names in a prompt, each once.

    A single word at its beginning, which would be capital anyway, is one where there is no other.
    """
    found: list[str] = []
    first: list[str] = []
    for match in _NAME.finditer(prompt):
        words = match[0].split(" ")
        if match.start() == 0 and len(words) == 1:
            first = [] if _is_function_word(words[0]) else [_bare(words[0])]
            continue
        while words and _is_function_word(words[0]):
            words = words[1:]
        name = _bare(" ".join(words))
        if name and name not in found:
            found.append(name)
    return found or first


def parsed_edit(line: str) -> tuple[str, str, str | None]:
    """(prompt, new answer, subject or None) of a typed edit.

    Raises:
        ValueError: no arrow in it.
    """
    prompt, arrow, rest = line.partition("=>")
    if not arrow:
        raise ValueError(f"An edit is typed as {_FORM}; got {line.strip()!r}.")
    target, at, subject = rest.rpartition(" @ ")
    if not at:
        return prompt, rest, None
    return prompt, target, subject


_FUNCTION_WORDS = re.compile(
    "an?|the|[io]n|at|of|to|for|from|by|with|who(m|se)?|which|what|where|when|why|how|is|are|was|were"
    "|do|does|did|can|and|or",
    re.IGNORECASE,
)


def _is_function_word(word: str) -> bool:
    return _FUNCTION_WORDS.fullmatch(word) is not None


def _bare(name: str) -> str:
    return name.removesuffix("'s").rstrip(".'-")


def _text(text: str, what: str) -> str:
    """The text without white space around it.

    Raises:
        ValueError: nothing is left, or it is no Unicode.
    """
    found = text.strip()
    if not found:
        raise ValueError(f"{what} needs some text, got none.")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has to be Unicode text, got other bytes.") from None
    return found


def _as_spelt(subject: str, prompt: str) -> str | None:
    """The subject as the prompt spells it, in whatever letter case."""
    match = re.search(re.escape(subject), prompt, re.IGNORECASE)
    return match[0] if match else None


def _missing(prompt: str, subject: str | None) -> str:
    if subject is not None:
        return (
            f"The subject {subject!r} is not in the prompt {prompt!r}; it has to be a part of it."
        )
    names = names_in(prompt)
    seen = f"{len(names)} names ({', '.join(map(repr, names))})" if names else "no name"
    return (
        f"This editor writes at the subject of the prompt, and there is {seen} in {prompt!r}; "
        "say which part of it is the subject."
    )
