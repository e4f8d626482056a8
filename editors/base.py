"""What every editor is: sample types, hyper-parameters, the editor protocol."""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Self,
    TypeVar,
    get_type_hints,
)

from editors.parts.checks import (
    PROMPT,
    TARGET,
    check_finite,
    check_list,
    check_text,
    described,
    typed,
)

if TYPE_CHECKING:  # names of types only: reading data or listing editors loads no torch
    from torch import Tensor

    from editors.parts.fast_paths import EditCache, Stopping
    from editors.parts.language_model import LanguageModel
    from editors.parts.needs import Needs, Setting
    from editors.parts.retrieving import Explanation
    from editors.parts.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """One fact to write: after the edit, `prompt` continues with `target`; both are not empty."""

    prompt: str
    target: str  # no leading space
    subject: str

    def __post_init__(self) -> None:
        check_text(PROMPT, self.prompt)
        check_text(TARGET, self.target)
        check_text("An edit's subject", self.subject, empty=True)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question after editing; `kind` names its type (`rephrase`, `Forgetfulness`, ..)."""

    kind: str
    prompt: str
    target: str  # no leading space
    aliases: tuple[str, ...] = ()  # other right answers, where one is decoded
    # (question, answer) of each other fact that a portability question needs beside the edit.
    hops: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_text("A question's prompt", self.prompt, empty=True)
        aliases = check_list("aliases", self.aliases, str, "texts")
        for text in (self.target, *aliases, *(text for hop in self.hops for text in hop)):
            check_text("A question's target", text, empty=True)


@dataclass(frozen=True, kw_only=True)
class EditSample:
    """A request with the probes that judge it."""

    id: str
    request: EditRequest
    generality: tuple[Probe, ...]
    locality: tuple[Probe, ...]
    aliases: tuple[str, ...] = ()  # other right answers to the request, where one is decoded
    portability: tuple[Probe, ...] = ()  # questions whose answers follow from the edit
    former: str = ""  # the answer that the edit replaces, where the data set names it

    def __post_init__(self) -> None:
        if not isinstance(self.request, EditRequest):
            raise ValueError(f"request: expected an EditRequest, got {described(self.request)}.")
        check_list("generality", self.generality, Probe, "Probe objects")
        check_list("locality", self.locality, Probe, "Probe objects")
        check_list("portability", self.portability, Probe, "Probe objects")
        check_list("aliases", self.aliases, str, "texts")


@dataclass(frozen=True, kw_only=True)
class Hparams:
    """Base of an editor's hyper-parameters: frozen, keyword-only, checked where constructed.

    `to_dict` leaves `later_fields` out where they have their default value: those that were added
    once there were records, whose keys stay.
    """

    later_fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values (a record, a JSON file); see `editors.parts.checks.typed`.

        Raises:
            ValueError: a name that is no field, with the nearest field; a value of another type
                than the field's; a number that is not finite.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"Unknown hyper-parameter {name!r} for {cls.__name__}.{hint} "
                    f"Available: {', '.join(names)}"
                )
        hints = get_type_hints(cls)
        built = cls(**{name: typed(name, value, hints[name]) for name, value in values.items()})
        for name, value in vars(built).items():
            check_finite(name, value)
        return built

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` of them gives an equal object."""
        usual = {f.name: f.default for f in dataclasses.fields(self) if f.name in self.later_fields}
        return {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in dataclasses.asdict(self).items()
            if k not in usual or v != usual[k]
        }

    def check_installed(self) -> None:
        """Look for optional packages that these hyper-parameters need.

        Raises:
            ValueError: a package is not installed; the sentence names its extra.
        """

    @property
    def uses_covariance(self) -> bool:
        """Whether the editor needs the key covariance of any layer."""
        return type(self).covariance_layers is not Hparams.covariance_layers

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """Blocks whose key covariance the editor needs, in a model of `n_layers`."""
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
        """Tokens of each random context prefix that the editor uses beside the bare prompt."""
        return ()

    @property
    def stops_early(self) -> bool:
        """Whether the loop of an edit may end before its last step; see `Resources.stopping`."""
        return False


HparamsT = TypeVar("HparamsT", bound=Hparams)


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
    training: Callable[[], Sequence[EditSample]] | None = None  # reads training edits
    seed: int = 0  # of the editor's own draws; the global generators are never touched
    stopping: Stopping = "by_loss"  # the others only bound the time of an edit
    edit_cache: EditCache | None = None  # None: every edit is computed


class Editor(ABC, Generic[HparamsT]):
    """Edits a language model, cumulatively, until reset.

    `reset` restores the model bit-exactly. An editor that acts at inference (a retrieved prompt, a
    codebook) attaches itself in `steering` only, so an unsteered forward is always that of the
    weights as they are. Facts are literal attributes, which `editors.registry` reads from the
    source. What saves time alone is in `editors.parts.fast_paths`.
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
    uses_encoder: ClassVar[bool] = False  # needs a sentence encoder among its resources
    # Whether its method writes several requests of one call of `edit` together.
    edits_batches: ClassVar[bool] = False
    # Whether it works on a model whose blocks lie on several devices.
    spans_devices: ClassVar[bool] = False
    hparams_class: ClassVar[type[Hparams]]
    presets: ClassVar[Mapping[str, Hparams]]  # backbone name -> its hyper-parameters
    # What the bundle `paper` changes in them, to be as the paper of the benchmark states: on every
    # backbone (""), and on one by its name.
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    paper_encoder: ClassVar[str | None] = None  # and the name of its sentence encoder there

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

    @abstractmethod
    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Apply requests on top of all earlier ones; an empty list changes nothing."""

    @abstractmethod
    def reset(self) -> None:
        """Undo all edits bit-exactly; no hook, flag or wrapper remains."""

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Context in which a forward (or a cached decoding) of `batch` is answered as edited."""
        return nullcontext()

    def explain(self, texts: Sequence[str]) -> Sequence[Explanation] | None:
        """What each prompt retrieves among the edits, and which of them its answer uses.

        None where nothing is looked up for a text. The edit named as used is the one that
        `steering` of the same prompt uses.
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
        """Write under `out` an artefact of the right shapes without training, for timing.

        An editor with it costs what a trained editor does and teaches nothing. Questions about its
        edits retrieve, where it retrieves at all.
        """
