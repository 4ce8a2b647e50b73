"""`dreamlift models list | pull | convert | verify | remove | licences`: the published weights on this machine.

Knows words, tables and questions. The store, downloads and hashes are `dreamlift.models`; only `convert` loads torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dreamlift.commands.outcomes import CommandError, Exit, emit

if TYPE_CHECKING:
    from dreamlift.models.catalogue import Model
    from dreamlift.models.store import Store


def add(commands, common) -> None:
    """Add `models` and its actions to the parser."""
    parser = commands.add_parser("models", parents=[common], help="list, fetch and check the published weights")
    parts = parser.add_subparsers(metavar="ACTION", required=True)

    def part(name, run, text, names=""):
        own = parts.add_parser(name, parents=[common], help=text, description=text)
        if names:
            own.add_argument("models", nargs=names, metavar="MODEL", help="as `models list` shows it")
        own.add_argument("--json", action="store_true", help="one JSON object a line")
        own.set_defaults(run=run)
        return own

    listing = part("list", list_models, "Show what there is, what is here and what needs it.")
    listing.add_argument("--pipeline", default="", help="only what this pipeline needs")
    pulling = part("pull", pull_models, "Download models, showing their licences first.", "+")
    pulling.add_argument("--yes", "-y", action="store_true", help="accept the licences without being asked")
    pulling.add_argument("--no-convert", action="store_true", help="keep the published file only")
    pulling.add_argument("--endpoint", default="", help="a mirror of the hub (default: DREAMLIFT_HUB or HF_ENDPOINT)")
    pulling.add_argument("--repository", default="", help="another repository with the same file, such as USER/NAME")
    converting = part("convert", convert_models, "Write published weights as safetensors, once.", "+")
    converting.add_argument("--again", action="store_true", help="replace the copy that is there")
    part("verify", verify_models, "Read every byte and compare SHA-256 with what was noted.", "*")
    removing = part("remove", remove_models, "Delete models from your own folder; shares keep theirs.", "+")
    removing.add_argument("--published-only", action="store_true", help="keep the converted copy")
    removing.add_argument("--yes", "-y", action="store_true", help="do not ask")
    part("licences", licences, "Show under which terms the weights may be used.", "*")


def list_models(args: argparse.Namespace) -> Exit:
    """One line a model."""
    from dreamlift.models.catalogue import MODELS, needed_by, size_in_words
    from dreamlift.models.store import State, Store

    store = Store.here()
    wanted = needed_by(args.pipeline) if args.pipeline else list(MODELS.values())
    if not wanted:
        from dreamlift.commands.requests import one_of

        one_of(args.pipeline, {name for model in MODELS.values() for name in model.pipelines}, "pipeline")
    found = {model.id: store.presence(model) for model in wanted}
    if args.json:
        for model in wanted:
            here = found[model.id]
            facts = {"label": model.label, "pipelines": list(model.pipelines), "size": model.size, "gated": model.gated}
            terms = {"licence": model.licence.name, "commercial_use": model.licence.commercial.value}
            place = {"folder": str(here.folder) if here.folder else None, "bytes": here.size, "problem": here.problem}
            emit("model", id=model.id, state=here.state.name.lower(), **facts, **terms, **place, source=model.source)
        return Exit.OK
    colours = {State.CONVERTED: "green", State.PUBLISHED: "green", State.ABSENT: "dim"}
    table = _table("model", "here", "size", "licence", "may be sold", "for")
    for model in wanted:
        here = found[model.id]
        size = f"{here.size / 1e9:.1f} GB" if here.size > 5e7 else size_in_words(model)
        gated = " (gated)" if model.gated else ""
        state = f"[{colours.get(here.state, 'yellow')}]{here.state.value}[/]"
        sold = model.licence.commercial.value
        table.add_row(model.id, state, size, model.licence.name + gated, sold, ", ".join(model.pipelines))
    _print(table)
    for model in wanted:
        if found[model.id].problem:
            _say(f"{model.id}: {found[model.id].problem}")
    _say("folders: " + ", ".join(str(folder) for folder in store.folders))
    if all(here.state not in (State.CONVERTED, State.PUBLISHED) for here in found.values()):
        _say("No published weights are here: `dreamlift generate` uses the embedded mini models.")
    return Exit.OK


def pull_models(args: argparse.Namespace) -> Exit:
    """Licence, question, download, copy."""
    from dataclasses import replace

    from dreamlift.models.hub import PullSettings
    from dreamlift.models.pull import pull
    from dreamlift.models.store import Store

    models, store = _named(args.models), Store.here()
    if args.repository and len(models) > 1:
        raise CommandError("--repository is for one model at a time.", "Pull the models one by one.", "bad_repository")
    own = {key: value for key, value in (("endpoint", args.endpoint), ("repository", args.repository)) if value}
    settings = replace(PullSettings.here(), **own)
    for model in models:
        _accept(model, args)
    for model in models:
        with _translated(), _bar(args.json, model.id) as bar:
            folder = pull(store, model, settings, bar.file)
        _done(args, "pulled", model.id, folder, f"{model.id} is in {folder}")
        if not args.no_convert and not model.is_folder:
            _convert(args, store, model)
    return Exit.OK


def convert_models(args: argparse.Namespace) -> Exit:
    """Safetensors beside the published file."""
    from dreamlift.models.store import Store

    store = Store.here()
    for model in _named(args.models):
        _convert(args, store, model, args.again)
    return Exit.OK


def verify_models(args: argparse.Namespace) -> Exit:
    """PROBLEM where a file is not what was noted."""
    from dreamlift.models.catalogue import MODELS
    from dreamlift.models.store import Store
    from dreamlift.models.verify import bytes_of, verify

    store, bad, seen = Store.here(), 0, 0
    for model in _named(args.models) if args.models else MODELS.values():
        with _bar(args.json, model.id, bytes_of(store, model)) as bar:
            checked = verify(store, model, bar.more)
        if args.models and not checked:
            raise CommandError(f"Nothing of {model.id} is here.", f"Run `dreamlift models pull {model.id}`.", "absent")
        for one in checked:
            seen, bad = seen + 1, bad + (one.good is False)
            if args.json:
                emit("file", model=model.id, path=str(one.path), sha256=one.sha256, good=one.good, what=one.what)
            else:
                mark = {True: "ok     ", False: "problem", None: "unknown"}[one.good]
                print(f"{mark}  {one.path}: {one.what}")
    if args.json:
        emit("verified", files=seen, problems=bad)
    elif not seen:
        _say("No published weights are here.")
    return Exit.PROBLEM if bad else Exit.OK


def remove_models(args: argparse.Namespace) -> Exit:
    """Ask, then delete."""
    from dreamlift.models.store import State, Store

    store = Store.here()
    for model in _named(args.models):
        here = store.presence(model)
        if here.state is State.ABSENT:
            raise CommandError(f"Nothing of {model.id} is here.", "`dreamlift models list` shows what is.", "absent")
        _ask(args, f"Delete {model.id} ({here.size / 1e9:.1f} GB)?", "not_confirmed", "Nothing was deleted.")
        with _translated():
            freed = store.remove(model, args.published_only)
        left = store.presence(model)
        if left.state is not State.ABSENT and not args.published_only:
            _say(f"{left.folder} keeps its own copy: Dreamlift deletes only from {store.writable()}.")
        _done(args, "removed", model.id, None, f"{model.id} is removed, {freed / 1e9:.1f} GB are free again", freed)
    return Exit.OK


def licences(args: argparse.Namespace) -> Exit:
    """Terms of the models, or of some."""
    from dreamlift.models.catalogue import MODELS
    from dreamlift.models.store import licence_note

    for model in _named(args.models) if args.models else MODELS.values():
        if args.json:
            emit("licence", model=model.id, gated=model.gated, source=model.source, **licence_note(model))
        else:
            print("\n".join(_terms(model)), end="\n\n")
    return Exit.OK


def _named(names: list[str]) -> list[Model]:
    from dreamlift.commands.requests import one_of
    from dreamlift.models.catalogue import MODELS

    return [MODELS[one_of(name, MODELS, "model")] for name in dict.fromkeys(names)]


def _terms(model: Model) -> list[str]:
    from dreamlift.models.catalogue import size_in_words

    lines = [f"{model.id}: {model.label}, {size_in_words(model)}", f"  from           {model.source}"]
    for part, licence in (("", model.licence), *model.sub_licences):
        lines.append(f"  licence        {part + ': ' if part else ''}{licence.name} ({licence.url})")
        lines.append(f"  commercial use {licence.commercial.value}{'. ' + licence.note if licence.note else ''}")
    if model.gated:
        lines.append("  gated          accept the licence on the page, then set HF_TOKEN or run `hf auth login`")
    return lines + ([f"  note           {model.note}"] if model.note else [])


def _accept(model: Model, args: argparse.Namespace) -> None:
    if args.json:
        from dreamlift.models.store import licence_note

        emit("licence", model=model.id, gated=model.gated, source=model.source, **licence_note(model))
    else:
        print("\n".join(_terms(model)), file=sys.stderr)
    _ask(args, "Accept this licence and download?", "licence_not_accepted", "Nothing was downloaded.")


def _ask(args: argparse.Namespace, question: str, code: str, otherwise: str) -> None:
    if args.yes:
        return
    if args.json or not sys.stdin.isatty():
        raise CommandError(f"{otherwise} {question}", "Give --yes to answer it beforehand.", code)
    print(f"{question} [y/n] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError(otherwise, "Answer y, or give --yes.", code)


def _convert(args: argparse.Namespace, store: Store, model: Model, again: bool = False) -> None:
    from dreamlift.models.convert import convert
    from dreamlift.threads import prepare_threads

    prepare_threads()
    source = store.published(model)
    size = source.stat().st_size if source is not None and source.is_file() else 0
    with _translated(), _bar(args.json, f"{model.id}: reading", size) as bar:
        folder = convert(store, model, again=again, tell=bar.more)
    _done(args, "converted", model.id, folder, f"{model.id} is ready in {folder}")


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the store and of weight files as a command's errors, with an exit code."""
    from dreamlift.models.errors import AccessDenied, ModelError, Unreachable
    from dreamlift.priors.weight_errors import WeightsError

    try:
        yield
    except WeightsError as error:
        raise CommandError(error.what, error.remedy, error.code, Exit.PROBLEM) from error
    except ModelError as error:
        code = Exit.UNREACHABLE if isinstance(error, Unreachable | AccessDenied) else Exit.PROBLEM
        raise CommandError(error.what, error.remedy, error.code, code) from error
    except OSError as error:
        what = f"{error.filename or 'A model folder'}: {error.strerror or error}."
        raise CommandError(what, "Check the disk and its permissions.", "disk_trouble", Exit.PROBLEM) from error
    except RuntimeError as error:
        from dreamlift.priors.published import CheckpointMismatch

        if not isinstance(error, CheckpointMismatch):
            raise
        what, remedy = str(error), "Pull the model again, or name the right file."
        raise CommandError(what, remedy, "weights_mismatch", Exit.PROBLEM) from error


class _Silent:
    """Progress for scripts: events, at most two a second and a last one."""

    def __init__(self, name: str):
        self._name, self._last = name, 0.0

    def file(self, file, done: int, total: int | None) -> None:
        import time

        if time.monotonic() - self._last > 0.5 or done == total:
            self._last = time.monotonic()
            emit("progress", model=self._name, file=file.path, bytes=done, total=total)

    def more(self, count: int) -> None:
        """Nothing: a local file is read soon."""


class _Bar:
    """Progress for people."""

    def __init__(self, bar, name: str, total: int):
        self._bar, self._name = bar, name
        self._task = bar.add_task(name, total=total or None)

    def file(self, file, done: int, total: int | None) -> None:
        self._bar.update(self._task, description=f"{self._name}: {file.path}", completed=done, total=total)

    def more(self, count: int) -> None:
        self._bar.update(self._task, advance=count)


@contextmanager
def _bar(as_json: bool, name: str, total: int = 0) -> Iterator[_Silent | _Bar]:
    if as_json:
        yield _Silent(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    told = TextColumn("{task.description}", markup=False)
    columns = (told, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Bar(bar, name, total)


def _table(*columns: str):
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table) -> None:
    from rich.console import Console

    console = Console()
    Console(width=console.width if console.is_terminal else 160).print(table)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _done(args: argparse.Namespace, event: str, model: str, folder, text: str, freed: int | None = None) -> None:
    if args.json:
        emit(event, model=model, folder=str(folder) if folder else None, **({"freed": freed} if freed else {}))
    else:
        print(text)
