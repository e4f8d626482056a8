"""`models fetch`: tiny wheels from a folder that pip takes for its index, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from bench.core.files import digest_of_file
from bench.models import catalogue, fetching
from bench.models.backbones import like, load, locate
from bench.models.catalogue import Entry, Named
from bench.models.resources import encoder_directory
from editors.parts.encoder import TextVectors
from tests.cli.commands import Said
from tests.support.tiny_files import save_tiny

pytest.importorskip("gguf", reason="the extra gguf is not installed")
GGUF = "tiny_backbone/tiny.gguf"
ENCODER = "tiny_encoder/model"


def wheel(folder: Path, package: str, files: Mapping[str, bytes]) -> Path:
    """A wheel of version 1.0 that pip downloads."""
    path = folder / f"{package}-1.0-py3-none-any.whl"
    info = f"{package}-1.0.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
        f"{package}/__init__.py": b"raise SystemExit('never run')\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**about, **files}.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    """A catalogue of one backbone and one encoder, in a folder of wheels; an empty cache."""
    from bench.checks.contract.tiny import write_encoder
    from tests.support.tiny_gguf import write_gguf

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_gguf(tmp_path / "tiny.gguf", "llama")
    directory = write_encoder(tmp_path / "encoder")
    files = {f"{ENCODER}/{path.name}": path.read_bytes() for path in directory.iterdir()}
    content = (tmp_path / "tiny.gguf").read_bytes()
    built = {
        "tiny": wheel(wheels, "tiny_backbone", {GGUF: content}),
        "tiny-encoder": wheel(wheels, "tiny_encoder", files),
    }
    weights = files[f"{ENCODER}/model.safetensors"]

    def entry(key: str, kind: catalogue.Kind, path: str, content: bytes) -> Entry:
        return Entry(
            key=key, kind=kind, title=key, licence="none", version="1.0", path=path,
            package=built[key].name.partition("-")[0], wheel=digest_of_file(built[key]),
            bytes=built[key].stat().st_size, sha256=hashlib.sha256(content).hexdigest(),
            hub=f"someone/{key}", revision="0" * 40,
        )  # fmt: skip

    all_entries = {
        "tiny": entry("tiny", "backbone", GGUF, content),
        "tiny-encoder": entry("tiny-encoder", "encoder", ENCODER, weights),
    }
    monkeypatch.setattr(catalogue, "_catalogue", lambda: ({"both": [*all_entries]}, all_entries))
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return all_entries


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Said:
    from bench.cli.main import main

    code = main(["models", *arguments])
    return Said(code, *capsys.readouterr())


def test_both_kinds_are_fetched_once_and_read_by_name(
    entries: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError, match="`python -m bench models fetch tiny` gets it"):
        locate("tiny")
    assert like("tiny") == "default"  # its settings are known before it is there
    assert "tiny: fetched, verified" in run("fetch", "both", capsys=capsys).out
    assert load(locate("tiny")).model.config.hidden_size == 16
    vectors = TextVectors.from_directory(encoder_directory("tiny-encoder"), torch.device("cpu"))
    assert vectors(["a"]).shape == (1, vectors.width)
    monkeypatch.setattr(fetching, "_download", lambda *_: pytest.fail("downloaded again"))
    assert run("fetch", "both", capsys=capsys).out.count(": there, verified: --") == 2
    source = Named(entries["tiny"], "registry").folder / "source.json"
    assert json.loads(source.read_text()) == {
        "package": "tiny_backbone", "version": "1.0", "wheel": entries["tiny"].wheel,
    }  # fmt: skip


def test_what_is_damaged_later_is_named(
    entries: dict[str, Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", capsys=capsys) == (0, "No model is in the cache.\n", "")
    run("fetch", "tiny", capsys=capsys)
    said = run("verify", capsys=capsys)
    assert (said.code, said.out.startswith("tiny: as it was fetched: ")) == (0, True)
    listed = run("list", capsys=capsys).out
    assert [line.split()[0] for line in listed.splitlines() if "in the cache" in line] == ["tiny"]
    with (Named(entries["tiny"], "registry").folder / "model" / "model.safetensors").open(
        "ab"
    ) as f:
        f.write(b"x")
    said = run("verify", capsys=capsys)
    assert said.code == 1
    assert "model.safetensors is damaged" in said.out
    assert "fetch it again with `python -m bench models fetch tiny`" in said.out
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        locate("tiny")


def changed(**values: str) -> Callable[[Entry], None]:
    def change(entry: Entry) -> None:
        for name, value in values.items():
            object.__setattr__(entry, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            changed(wheel="0" * 64),
            r"of the wheel of tiny_backbone 1\.0 is [0-9a-f]{64}, wanted 0",
        ),
        (changed(sha256="1" * 64), r"sha256 of tiny\.gguf in tiny_backbone-1\.0-.*, wanted 1"),
        (changed(path="elsewhere/x.gguf"), r"-any\.whl has no elsewhere/x\.gguf"),
        (changed(version="2.0"), r"pip cannot download tiny_backbone==2\.0 \(.*check the network"),
    ],
)
def test_what_is_not_as_the_catalogue_says_is_one_sentence_and_leaves_nothing(
    change: Callable[[Entry], None],
    sentence: str,
    entries: dict[str, Entry],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(entries["tiny"])
    said = run("fetch", "tiny", capsys=capsys)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert re.search(sentence, said.err)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name != "models"]


def test_a_model_of_the_hub_is_another_backbone(
    entries: dict[str, Entry],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = []
    place = save_tiny("llama", tmp_path / "snapshot")

    def snapshot(repository: str, _: object, *, option: str, revision: str) -> Path:
        asked.append((repository, revision))
        return place

    monkeypatch.setattr(fetching, "snapshot", snapshot)
    with pytest.raises(FileNotFoundError, match="`python -m bench models fetch tiny --from hub`"):
        locate("someone/tiny")
    with pytest.raises(FileNotFoundError, match="`hf download any/thing --local-dir thing`"):
        locate("any/thing")
    assert "tiny-hub: fetched" in run("fetch", "tiny", "--from", "hub", capsys=capsys).out
    assert asked == [("someone/tiny", "0" * 40)]
    run("fetch", "tiny", capsys=capsys)
    assert locate("tiny-hub").digest != locate("tiny").digest
    assert locate("tiny-hub").name == "tiny-hub"


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = run("fetch", "smal", capsys=capsys)
    assert said.code == 2
    assert "Unknown model 'smal'. Did you mean 'small'?" in said.err


def test_the_catalogue_names_exact_versions_and_digests() -> None:
    for model in catalogue.every():
        entry = model.entry
        assert {len(entry.wheel), len(entry.sha256)} == {64}
        assert len(entry.revision) == 40
    assert [model.name for model in catalogue.chosen(["small"], "registry")] == [
        "smollm2-135m", "all-minilm-l6-v2",
    ]  # fmt: skip
    assert like("smollm2-135m") == like("smollm2-135m-hub") == "smollm2-135m"
