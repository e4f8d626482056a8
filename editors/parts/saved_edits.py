"""Edits in a directory: a whole edited model, or an editor's state, and what was edited.

Where the weights answer, `save` writes a plain directory of Hugging Face, which any program loads.
Of other editors it writes the state, which `load` puts into the same editor of the same model. In
both `edits.json` says what was done.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editors.base import Editor, EditRequest

if TYPE_CHECKING:
    from torch import Tensor

    from editors.parts.language_model import LanguageModel

SCHEMA = 1
FACTS, STATE = "edits.json", "edits.safetensors"
_SEEN = 1024  # numbers at each end of a tensor that distinguish models


def answers_by_weights(editor: Editor[Any]) -> bool:
    """Whether the edited weights alone answer, so that they are the whole of the edits."""
    return type(editor).steering is Editor.steering


def save(
    editor: Editor[Any], edits: Sequence[EditRequest], directory: Path, facts: Mapping[str, Any]
) -> Path:
    """Write the edits in force to a new directory, whole or not at all.

    Args:
        editor: with the edits in force.
        edits: these.
        directory: the new one.
        facts: further entries of `edits.json`, of JSON values.

    Raises:
        ValueError: no edit to save.
        FileExistsError: the directory is there.
        OSError: it cannot be written.
    """
    from safetensors.torch import save_file

    if not edits:
        raise ValueError("There is no edit to save.")
    with _new_directory(directory) as place:
        if answers_by_weights(editor):
            editor.lm.model.save_pretrained(place)
            editor.lm.tokenizer.save_pretrained(place)
        else:
            state = {name: t.contiguous().cpu() for name, t in editor.state_dict().items()}
            save_file(state, place / STATE)
        described = {
            "schema": SCHEMA,
            "kind": "model" if answers_by_weights(editor) else "state",
            **_identity(editor),
            **facts,
            "edits": [asdict(edit) for edit in edits],
        }
        text = json.dumps(described, indent=1, ensure_ascii=False)
        (place / FACTS).write_text(text + "\n", encoding="utf-8")
    return directory


def read_facts(directory: Path) -> dict[str, Any]:
    """What `edits.json` in a directory says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what `save` wrote.
    """
    path = directory / FACTS
    if not path.is_file():
        raise FileNotFoundError(f"No saved edits in {directory}: there is no {FACTS}.")
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = facts["schema"] == SCHEMA and isinstance(facts["edits"], list)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ValueError(f"{path} is not what this version writes of saved edits.")
    return facts


def load(editor: Editor[Any], directory: Path) -> tuple[EditRequest, ...]:
    """Replace an editor's edits by those of a directory, and return them.

    Raises:
        FileNotFoundError: no saved edits.
        ValueError: a whole model, or edits of another editor, other hyper-parameters, or another
            model; the editor's edits stay as they are.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    facts = read_facts(directory)
    if facts["kind"] == "model":
        raise ValueError(
            f"{directory} is a whole edited model: load it as any other (--backbone {directory})."
        )
    for name, value in _identity(editor).items():
        if facts.get(name) != value:
            what = name.replace("_", " ")
            raise ValueError(
                f"The edits in {directory} are of the {what} {facts.get(name)!r}, not {value!r}."
            )
    try:
        state = load_file(directory / STATE)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{directory / STATE} cannot be read: {error}.") from error
    edits = tuple(EditRequest(**edit) for edit in facts["edits"])
    editor.load_state_dict(state)
    return edits


def _identity(editor: Editor[Any]) -> dict[str, Any]:
    """What must be the same where a state is loaded; a whole model has its own weights."""
    cls = type(editor)
    identity = {
        "editor": cls.label,
        "editor_version": cls.version,
        "hyper_parameters": editor.hparams.to_dict(),
    }
    artefact = editor.resources.artefact
    if artefact is not None:
        identity["trained_weights"] = hashlib.sha256(artefact.read_bytes()).hexdigest()
    if not answers_by_weights(editor):
        identity["model"] = fingerprint(editor.lm)
    return identity


def fingerprint(lm: LanguageModel) -> str:
    """What distinguishes models: names, shapes and both ends of all weights. Not cryptographic."""
    import torch

    whole = hashlib.sha256()
    for name, tensor in sorted(lm.model.state_dict().items()):
        flat = tensor.detach().flatten()
        ends = torch.cat([flat[:_SEEN], flat[-_SEEN:]]).to("cpu", torch.float32)
        whole.update(f"{name} {tuple(tensor.shape)}\n".encode())
        whole.update(_bytes(ends))
    return whole.hexdigest()


def _bytes(numbers: Tensor) -> bytes:
    return numbers.contiguous().numpy().tobytes()


@contextmanager
def _new_directory(directory: Path) -> Iterator[Path]:
    """A folder beside a new one, which takes its name where nothing went wrong."""
    if directory.exists():
        raise FileExistsError(f"{directory} is there already and is not overwritten.")
    place = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:8]}.partial")
    place.mkdir(parents=True)
    try:
        yield place
        place.rename(directory)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
