"""What every editor is: sample types, hyper-parameters, the editor protocol."""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

if TYPE_CHECKING:  # names of types only: reading data or listing editors loads no torch
    from torch import Tensor

    from editors.parts.language_model import LanguageModel
    from editors.parts.needs import Needs, Setting
    from editors.parts.retrieving import Explanation
    from editors.parts.stopping import Stopping
    from editors.parts.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """One fact to write: after the edit, `prompt` continues with `target`."""

    prompt: str
    target: str  # no leading space
    subject: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question asked after editing; `kind` names its type (`rephrase`, `Forgetfulness`, ..)."""

    kind: str
    prompt: str
    target: str  # no leading space


@dataclass(frozen=True, kw_only=True)
class EditSample:
    """A request with the probes that judge it."""

    id: str
    request: EditRequest
    generality: tuple[Probe, ...]
    locality: tuple[Probe, ...]


@dataclass(frozen=True, kw_only=True)
class Hparams:
    """Base of an editor's hyper-parameters: frozen, keyword-only, checked where constructed."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values (a record, a JSON file); unknown names are refused.

        Raises:
            ValueError: a name that is no field, with the nearest field.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"Unknown hyper-parameter {name!r} for {cls.__name__}.{hint} "
                    f"Available: {', '.join(names)}"
                )
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` of them gives an equal object."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()
        }

    def check_installed(self) -> None:
        """Look for optional packages that these hyper-parameters want.

        Raises:
            ValueError: one is not installed; the sentence says what adds it.
        """

    @property
    def uses_covariance(self) -> bool:
        """Whether the editor asks for the key covariance of any layer."""
        return False

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """Blocks whose key covariance the editor will ask for, in a model of `n_layers`."""
        return ()

    @property
    def reads_corpus(self) -> bool:
        """Whether the editor reads lines of plain text."""
        return False

    @property
    def reads_training(self) -> bool:
        """Whether the editor reads training edits, without being trained on them."""
        return False

    @property
    def template_lengths(self) -> tuple[int, ...]:
        """Tokens of each random context prefix that the editor wants beside the bare prompt."""
        return ()

    @property
    def stops_early(self) -> bool:
        """Whether the loop of an edit may end before its last step; see `Resources.stopping`."""
        return False


HparamsT = TypeVar("HparamsT", bound=Hparams)


class Kept(Protocol):
    """Where an editor finds again what it made of a request on the pristine model."""

    def get(self, request: EditRequest) -> dict[str, Tensor] | None:
        """What was put there for an equal request; None for nothing."""

    def put(self, request: EditRequest, made: Mapping[str, Tensor]) -> None:
        """Keep what `get` did not find, and has been made since."""

    def take_saved(self) -> float:
        """Seconds that making took what was found since the last call of this."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an editor may need beside the model; the driver fills it, editors import no driver.

    `covariance(layer)` is the uncentred second moment [m, m] of the inputs of that layer's MLP
    output projection on the *pristine* model. `templates` are the context templates of ROME-like
    editors, each with one `{}`; the first is the bare `"{}"`.
    """

    encoder: Path | None = None  # directory of a sentence encoder (RoBERTa)
    artefact: Path | None = None  # trained weights of a trainable editor (safetensors)
    covariance: Callable[[int], Tensor] | None = None
    templates: tuple[str, ...] = ("{}",)
    corpus: Callable[[], Iterable[str]] | None = None  # reads documents of plain text
    training: Callable[[], Sequence[EditSample]] | None = None  # reads edits that no test asks for
    seed: int = 0  # of the editor's own draws; the global generators are never touched
    stopping: Stopping = "by_loss"  # the others only bound the time of an edit
    kept: Kept | None = None  # None: everything is made anew


class Editor(ABC, Generic[HparamsT]):
    """Edits a language model, cumulatively, until reset.

    Subclasses keep all their state so that `reset` restores the model bit-exactly. An editor that
    acts at inference (a retrieved prompt, a codebook) attaches itself in `steering` only, so an
    unsteered forward is always that of the weights as they are.
    """

    family: ClassVar[Literal["MP", "AP", "RB"]]  # modifies / adds parameters, retrieval-based
    version: ClassVar[int] = 1  # bumped when results change; part of a cell's identity
    label: ClassVar[str]  # as tables print it
    aliases: ClassVar[tuple[str, ...]] = ()
    in_paper: ClassVar[bool] = True  # False: a later editor, which tables show only on demand
    table_row: ClassVar[int | None] = None  # place in tables: 1 to 11 are the paper's; None: last
    mark: ClassVar[tuple[str, str] | None] = None  # (colour, marker) in figures; None: any
    retrieves_text: ClassVar[bool] = False  # answers depend on `TokenBatch.texts`
    uses_subject: ClassVar[bool] = False  # an edit depends on where its prompt has the subject
    uses_encoder: ClassVar[bool] = False  # asks its resources for a sentence encoder
    # Whether it works on a model whose blocks lie on several devices.
    spans_devices: ClassVar[bool] = False
    # Hyper-parameters that an edit's tensors depend on, where these depend on nothing else but the
    # request and the pristine model, so that they may be kept. Empty: they depend on more.
    kept_by: ClassVar[frozenset[str]] = frozenset()
    hparams_class: ClassVar[type[Hparams]]
    presets: ClassVar[Mapping[str, Hparams]]  # backbone name -> its hyper-parameters

    def __init__(self, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> None:
        devices = {str(parameter.device) for parameter in lm.model.parameters()}
        if len(devices) > 1 and not self.spans_devices:
            raise ValueError(
                f"{self.label} works inside the blocks and wants the model on one device, got it "
                f"on {', '.join(sorted(devices))}."
            )
        self.lm = lm
        self.hparams = hparams
        self.resources = resources

    @classmethod
    def needs(cls, hparams: HparamsT, on: Setting) -> Needs | None:  # noqa: ARG003
        """What an editor with these hyper-parameters needs beside the model; None: unknown."""
        return None

    @property
    def together(self) -> int:
        """How many requests `prepare` works out at once."""
        return 1

    @abstractmethod
    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Apply requests on top of all earlier ones; an empty list changes nothing."""

    def prepare(self, requests: Sequence[EditRequest]) -> Sequence[Callable[[], None]]:
        """What makes the edit of each request on the model as it is now, as `edit` of it would.

        Each is called on the model as it is now. The editor may work out several together, and gets
        at most `together` of them.
        """
        return [partial(self.edit, [request]) for request in requests]

    @abstractmethod
    def reset(self) -> None:
        """Undo all edits bit-exactly; no hook, flag or wrapper is left behind."""

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Context in which a forward (or a cached decoding) of `batch` is answered as edited."""
        return nullcontext()

    @property
    def steers_alike(self) -> bool:
        """Whether steering treats all rows alike, so that rows may leave a batch."""
        return type(self).steering is Editor.steering  # the weights answer as they are

    @property
    def steers_by_prompt(self) -> bool:
        """Whether steering knows of a row its text and where its prompt ends, and no more.

        Then a target may be forced first, and decoding go on behind any part of it.
        """
        return self.steers_alike

    def remembering(self) -> AbstractContextManager[None]:
        """Context without edits, in which what a text retrieves may be kept for the next time."""
        return nullcontext()

    def retrieved(self, texts: Sequence[str]) -> Sequence[int] | None:
        """What each text retrieves: with equal numbers, a row is answered alike.

        None where that cannot be told.
        """
        return None

    def explain(self, texts: Sequence[str]) -> Sequence[Explanation] | None:
        """Why each prompt is answered as it is: what it finds among the edits, and which it uses.

        None where nothing is looked up for a text. What is said to be used is what `steering` of
        the same prompt uses.
        """
        return None

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """All edits so far as tensors; loading them continues the stream exactly."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the present edits by those of `state_dict`."""


class TrainableEditor(Editor[HparamsT]):
    """An editor with weights of its own, trained once on training edits, then frozen."""

    # Whether the weights for a miniature backbone take minutes, so that `run` trains them itself
    # where none are shipped.
    quick: ClassVar[bool] = False
    # Hyper-parameters that only matter once the weights are trained.
    edit_time: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @abstractmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: HparamsT,
        resources: Resources,
        *,
        out: Path,
        progress: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Path:
        """Train on the samples of each data set (by name) and write the artefact under `out`."""

    @classmethod
    @abstractmethod
    def untrained(
        cls, lm: LanguageModel, hparams: HparamsT, resources: Resources, *, out: Path
    ) -> Path:
        """Write under `out` an artefact of the right shapes that no training has made.

        An editor with it costs what a trained one does and teaches nothing. Questions about its
        edits retrieve, where it retrieves at all.
        """
