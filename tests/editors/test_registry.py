from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.checks.contract.tiny import tiny_gpt2
from editors import registry
from editors.base import Resources
from editors.ft import FtEditor, FtHparams
from editors.grace import GraceHparams
from editors.registry import read_entry

ROOT = Path(registry.__file__).parent


def test_every_module_with_a_label_is_an_editor() -> None:
    keys = [path.stem for path in sorted(ROOT.glob("*.py")) if "    label" in path.read_text()]
    assert set(registry.available()) == set(keys) - {"base", "registry"}
    assert {"ft", "grace", "recipe", "rome"} <= set(keys)


def test_labels_and_aliases_resolve_in_any_case_and_are_not_shared() -> None:
    names: dict[str, str] = {}
    for key in registry.available():
        entry = registry.describe(key)
        for name in {n.casefold() for n in (entry.key, entry.label, *entry.aliases)}:
            assert registry.resolve(name) == registry.resolve(name.upper()) == key
            assert names.setdefault(name, key) == key


def test_every_editor_has_a_row_and_a_mark_of_its_own() -> None:
    entries = [registry.describe(key) for key in registry.shipped()]
    assert sorted(entry.table_row or 0 for entry in entries) == list(range(1, len(entries) + 1))
    assert len({entry.mark for entry in entries} - {None}) == len(entries)


def test_editors_of_later_papers_are_known_from_the_source() -> None:
    later = {key for key in registry.available() if not registry.describe(key).in_paper}
    assert later == {"alphaedit", "ike", "rag", "ultraedit", "wise"}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown editor 'grcae'\. Did you mean 'grace'\?"):
        registry.resolve("grcae")
    with pytest.raises(ValueError, match=r"Unknown editor 'zzz'\. Available: .*ft"):
        registry.editor_class("zzz")


@pytest.mark.parametrize("key", ["rome", "ft", "lte", "recipe"])
def test_settings_of_a_local_copy_are_compared_with_its_own_preset(key: str) -> None:
    presets = registry.editor_class(key).presets
    for name in ("default", "llama-2-7b", "gpt2-xl"):
        values = json.loads(json.dumps(presets[name].to_dict()))
        assert registry.compared_preset(key, "Llama-2-7b-hf", values) == presets[name]
    assert registry.compared_preset(key, "mini-llama", values) == presets["mini-llama"]


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from editors import registry; "
        "[registry.describe(k).in_paper for k in registry.available()]; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT.parent)
    assert done.returncode == 0


def test_no_preset_and_no_default_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FtEditor, "presets", {"gpt2-xl": FtHparams(layer=0)})
    with pytest.raises(ValueError, match=r"FT has no hyper-parameters for .*'other'.*: gpt2-xl"):
        registry.hparams_for("ft", "other")


def test_an_editor_has_the_preset_of_its_model() -> None:
    lm = tiny_gpt2()
    assert registry.get_editor("FT", lm).hparams == FtEditor.presets["default"]
    hparams = FtHparams(layer=1)
    built = registry.get_editor("ft", lm, hparams, Resources(seed=3))
    assert (built.hparams, built.resources.seed) == (hparams, 3)
    with pytest.raises(ValueError, match="Layer 17"):
        registry.get_editor("ROME", lm, preset="gpt2-xl")
    with pytest.raises(ValueError, match="FT takes FtHparams, got GraceHparams"):
        registry.get_editor("ft", lm, GraceHparams(layer=1))


def test_two_editors_in_one_file_are_refused(tmp_path: Path) -> None:
    body = "class A:\n    label = 'A'\n    family = 'MP'\nclass B:\n    label = 'B'\n"
    path = tmp_path / "two.py"
    path.write_text(body)
    with pytest.raises(ValueError, match=r"two\.py holds 2 editors"):
        read_entry(path)
