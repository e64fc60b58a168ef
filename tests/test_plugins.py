"""Plug-ins: files of bmc and other packages' entry points, imported when named, and checked."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bmc import plugins
from bmc.contracts import data_sets, families, targets, techniques
from bmc.errors import ArtifactError, MissingError, PluginError, UnknownError

DATA_SET = """
from bmc.contracts import DataSet
from bmc.data import Table

def table():
    return Table([("a",), ("b",)], ["x", "y"])

DATA_SET = DataSet(about="two rows", table=table)
"""
STEP = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Nothing:
    ratio: float = 0.5

    def apply(self, model, work):
        return {}

    @staticmethod
    def rebuild(model, record):
        pass

STEP = Nothing
"""
Install = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with a good file and three that cannot be imported."""
    name = f"plugins_of_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    files = {
        "__init__": "",
        "low_rank": "VALUE = 7",
        "_helper": "VALUE = 8",
        "needy": "import openvino_that_is_not_here.core",
        "wanting": "raise ModuleNotFoundError('No module', name='onnxruntime')",
        "broken": "import bmc.nothing_of_that_name",
    }
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a package of one module with one entry point."""
    count = 0

    def make(group: str, name: str, code: str, value: str = "{module}") -> str:
        nonlocal count
        count += 1
        module = f"others_{tmp_path.name.replace('-', '_')}_{count}"
        folder = tmp_path / f"site{count}"
        about = folder / f"{module}-1.2.dist-info"
        about.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.2\n")
        entry = f"[{group}]\n{name} = {value.format(module=module)}\n"
        (about / "entry_points.txt").write_text(entry)
        monkeypatch.syspath_prepend(folder)
        return module

    return make


def test_names_are_the_files_names_with_dashes_and_importing_none(package: str) -> None:
    assert plugins.names(package) == ["broken", "low-rank", "needy", "wanting"]
    assert f"{package}.low_rank" not in sys.modules


def test_a_file_is_imported_by_its_name(package: str) -> None:
    assert plugins.load(package, "low-rank", "method").VALUE == 7


@pytest.mark.parametrize("name", ["low-rnk", "_helper", "os", "../os", ""])
def test_a_name_that_is_no_plug_in_is_refused(package: str, name: str) -> None:
    with pytest.raises(UnknownError, match="no method named"):
        plugins.load(package, name, "method")


def test_a_package_that_is_missing_becomes_the_command_that_installs_it(package: str) -> None:
    with pytest.raises(MissingError, match=r"pip install 'bmc-toolkit\[onnx\]'") as caught:
        plugins.load(package, "wanting", "target")
    assert "the target 'wanting' needs the package onnxruntime" in str(caught.value)
    with pytest.raises(MissingError, match="openvino_that_is_not_here"):
        plugins.load(package, "needy", "target")


def test_a_missing_module_of_bmc_itself_is_a_bug_and_stays_one(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        plugins.load(package, "broken", "target")


@pytest.mark.parametrize("value", ["{module}", "{module}:DATA_SET"])
def test_another_packages_plug_in_is_listed_unimported_and_loaded_by_name(
    install: Install, value: str
) -> None:
    module = install("bmc.data", "two_rows", DATA_SET, value)
    assert "two-rows" in data_sets.DATA_SETS.names()
    assert module not in sys.modules
    assert data_sets.data_set("two-rows").about == "two rows"


def test_a_technique_is_found_among_those_of_its_kind_alone(install: Install) -> None:
    install("bmc.techniques", "share.nothing", STEP)
    assert "nothing" in techniques.techniques("share").names()
    assert "nothing" not in techniques.techniques("prune").names()
    assert techniques.technique("share/nothing").step().ratio == 0.5  # type: ignore[attr-defined]
    assert techniques.technique("share/nothing").keep is None


def test_two_plug_ins_of_one_name_are_refused_with_both_packages(install: Install) -> None:
    modules = [install("bmc.data", "two-rows", DATA_SET) for _ in range(2)]
    with pytest.raises(PluginError, match="two plug-ins are the data set 'two-rows'") as caught:
        data_sets.data_set("two-rows")
    assert all(f"the package {module} 1.2" in str(caught.value) for module in modules)


def test_a_plug_in_with_the_name_of_a_file_of_bmc_is_refused(install: Install) -> None:
    module = install("bmc.data", "digits", DATA_SET)
    with pytest.raises(PluginError, match=r"bmc/data/digits\.py") as caught:
        data_sets.data_set("digits")
    assert module in str(caught.value)


def test_two_families_with_one_baseline_are_refused_with_both_origins(install: Install) -> None:
    code = (
        "from bmc.families.cnn import FAMILY as cnn\n"
        "from dataclasses import replace\n"
        "FAMILY = replace(cnn)\n"
    )
    module = install("bmc.models", "convolutions", code)
    with pytest.raises(PluginError, match="have a model 'cnn'") as caught:
        families.of_baseline("cnn")
    assert families.of_baseline("mlp") == "mlp"
    assert "bmc/families/cnn.py" in str(caught.value)
    assert module in str(caught.value)


BAD = {
    "lacks a member": (
        "bmc.data",
        "from bmc.contracts import DataSet\nDATA_SET = DataSet(about='a')",
        r"lacks table; bmc\.contracts\.DataSet says",
    ),
    "lacks several": (
        "bmc.models",
        "from bmc.contracts import Family\nFAMILY = Family(takes=('image',), network='a')",
        "lacks settings, recipe",
    ),
    "has an unknown one": (
        "bmc.data",
        "from bmc.contracts import DataSet\nDATA_SET = DataSet(about='a', tabel=list, table=list)",
        "has an unknown member tabel",
    ),
    "holds no object": ("bmc.data", "table = list", "has no DATA_SET"),
    "holds another object": ("bmc.data", "DATA_SET = 7", r"must be a bmc\.contracts\.DataSet"),
    "has a value of another type": (
        "bmc.data",
        "from bmc.contracts import DataSet\nDATA_SET = DataSet(about=7, table=list)",
        "its about is 7, which is not a str",
    ),
    "has no function": (
        "bmc.data",
        "from bmc.contracts import DataSet\nDATA_SET = DataSet(about='a', table=7)",
        "its table is 7, which is not a function",
    ),
    "has a function of other arguments": (
        "bmc.data",
        "from bmc.contracts import DataSet\nDATA_SET = DataSet(about='a', table=lambda rows: None)",
        r"its table\(rows\) cannot be called with \(\)",
    ),
    "fails": ("bmc.data", "1 / 0", "cannot be imported .ZeroDivisionError: division by zero"),
    "has a syntax error": ("bmc.data", "def", "cannot be imported .SyntaxError"),
    "is a file of another package": ("bmc.targets", "FORMAT = len", "must be a bmc.contracts.Form"),
}
LOAD: dict[str, Callable[[str], object]] = {
    "bmc.data": data_sets.data_set,
    "bmc.models": families.family,
    "bmc.targets": targets.format_of,
}


@pytest.mark.parametrize("what", BAD)
def test_a_plug_in_that_breaks_its_contract_is_refused_with_what_and_whose(
    what: str, install: Install
) -> None:
    group, code, message = BAD[what]
    module = install(group, "bad", code)
    with pytest.raises(PluginError, match=message) as caught:
        LOAD[group]("bad")
    assert f"{module}.py of the package {module} 1.2" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_plug_in_that_cannot_be_loaded_is_left_out_of_lists_with_its_reason(
    install: Install,
) -> None:
    install("bmc.models", "broken", "1 / 0")
    install("bmc.data", "two-rows", DATA_SET)
    assert "two-rows" in data_sets.DATA_SETS.usable()
    assert "mlp" in families.families()
    assert "broken" not in families.families()
    (reason,) = families.FAMILIES.refused().values()
    assert "ZeroDivisionError" in str(reason)
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        families.of_baseline("broken")


BAD_STEPS = {
    "frozen": (STEP.replace("(frozen=True)", ""), "must be a frozen dataclass"),
    "dataclass": ("STEP = 7", "it must be a frozen dataclass"),
    "default": (STEP.replace(" = 0.5", ""), "its setting ratio needs a default"),
    "apply": (STEP.replace("def apply", "def use"), "lacks apply"),
    "rebuild": (STEP.replace("    @staticmethod\n", ""), "rebuild must be a static method"),
    "arguments": (STEP.replace("(self, model, work)", "(self, model)"), "must take"),
}


@pytest.mark.parametrize("what", BAD_STEPS)
def test_a_technique_that_breaks_its_contract_is_refused(what: str, install: Install) -> None:
    code, message = BAD_STEPS[what]
    module = install("bmc.techniques", "share.bad", code)
    with pytest.raises(PluginError, match=message) as caught:
        techniques.technique("share/bad")
    assert module in str(caught.value)


def test_a_network_that_lacks_a_member_is_refused_with_its_file(install: Install) -> None:
    code = (
        "import sys\n"
        "from bmc.contracts import Network\n"
        "from bmc.families.cnn import FAMILY as cnn\n"
        "from dataclasses import replace\n"
        "FAMILY = replace(cnn, baselines={'mine': 'mine'}, network=__name__)\n"
        "NETWORK = 7\n"
    )
    module = install("bmc.models", "mine", code)
    assert families.family("mine").baselines == {"mine": "mine"}
    with pytest.raises(PluginError, match=r"NETWORK is 7; it must be a bmc\.contracts\.Network"):
        families.network("mine")
    assert module in sys.modules


def test_a_package_that_a_plug_in_needs_is_named(install: Install) -> None:
    module = install("bmc.data", "needy", "import nothing_of_that_name")
    with pytest.raises(MissingError, match="pip install nothing_of_that_name") as caught:
        data_sets.data_set("needy")
    assert f"of the package {module}" in str(caught.value)


def test_an_entry_point_without_its_module_is_refused(install: Install) -> None:
    install("bmc.data", "gone", "", "{module}.gone")
    with pytest.raises(PluginError, match=r"has no module|cannot be imported"):
        data_sets.data_set("gone")


RECORDED = [{"kind": "data set", "name": "far", "package": "bmc-far", "version": "3"}]


def test_what_was_made_with_a_plug_in_names_the_package_to_install() -> None:
    with pytest.raises(MissingError, match="pip install bmc-far") as caught:
        data_sets.data_set("far", RECORDED)
    assert "if you trust it" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "entry",
    [
        {**RECORDED[0], "package": "bmc-far; rm -r /"},
        {**RECORDED[0], "package": "--index-url=https://example.org"},
        {**RECORDED[0], "kind": "target"},
        {**RECORDED[0], "package": None},
        "far",
        None,
    ],
)
def test_a_strangers_file_makes_bmc_suggest_no_odd_package(entry: object) -> None:
    with pytest.raises(UnknownError):
        data_sets.data_set("far", [entry])
    with pytest.raises(UnknownError):
        data_sets.data_set("far", entry)


@pytest.mark.parametrize("name", ["os", "os.path", "../digits", "bmc.data.digits", "_files", ""])
def test_a_name_from_a_strangers_file_imports_nothing_but_plug_ins(name: str) -> None:
    before = set(sys.modules)
    for load in LOAD.values():
        with pytest.raises(UnknownError, match=r"^no "):
            load(name)
    with pytest.raises((UnknownError, ArtifactError), match=re.escape(f"{name}'")):
        techniques.technique(f"share/{name}")
    assert {module for module in set(sys.modules) - before if not module.startswith("bmc")} == set()


def test_only_other_packages_plug_ins_are_recorded(install: Install) -> None:
    module = install("bmc.data", "two-rows", DATA_SET)
    kind = data_sets.DATA_SETS
    about = {"kind": "data set", "name": "two-rows", "package": module, "version": "1.2"}
    assert kind.record("two-rows") == [about]
    assert kind.record("digits") == kind.record("a.csv") == []


def test_a_failed_import_that_names_no_package_keeps_its_own_reason() -> None:
    """As transformers raises it, where a module that it imports fails."""
    error = ModuleNotFoundError("Could not import module 'BertModel'. Are its needs installed?\nno")
    message = str(plugins.missing(error, "the network"))
    assert message == (
        "the network cannot be imported: Could not import module 'BertModel'. "
        "Are its needs installed?"
    )


def test_a_plug_in_inside_an_archive_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archived-1.2-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        about = "archived-1.2.dist-info"
        file.writestr("archived.py", DATA_SET)
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: archived\nVersion: 1.2\n")
        file.writestr(f"{about}/entry_points.txt", "[bmc.data]\nfrom-archive = archived\n")
    monkeypatch.syspath_prepend(archive)
    assert "from-archive" in data_sets.DATA_SETS.names()


def test_a_device_that_predicts_does_not_import_the_reader_of_entry_points(
    bundle_of: Callable[[str], Path],
) -> None:
    code = (
        f"import bmc, sys; bmc.load({str(bundle_of('onnx'))!r})('what a film')\n"
        "print(sorted({'importlib.metadata', 'bmc.contracts.techniques', 'bmc.cards',"
        " 'bmc.inputs.audio', 'bmc.inputs.features'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
