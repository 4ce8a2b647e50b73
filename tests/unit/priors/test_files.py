"""Hostile and broken weight files: each gets its own error with a remedy, nothing runs, nothing is overwritten."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dreamlift.priors import files
from dreamlift.priors.files import Family, check_family, family_of, read_component, read_weights

SHARED = Path(__file__).resolve().parents[4] / "shared"
MVDREAM = {"model.diffusion_model.camera_embed.0.weight": torch.ones(4, 4), "cond_stage_model.model.x": torch.ones(2)}
ZERO123 = {"cc_projection.weight": torch.ones(3, 3), "model.diffusion_model.out.0.weight": torch.ones(2)}


def ran(folder: Path) -> Path:
    """A file that the planted code would make."""
    return folder / "ran"


def evil_pickle(folder: Path, protocol: int = 2) -> bytes:
    """Instructions that would call `os.mkdir`, written by hand."""
    path = str(ran(folder)).encode()
    if protocol == 2:
        return b"\x80\x02cos\nmkdir\nX" + struct.pack("<I", len(path)) + path + b"\x85R."
    short = [b"\x8c" + bytes([len(text)]) + text for text in (b"os", b"mkdir")]
    return b"\x80\x04" + short[0] + b"\x94" + short[1] + b"\x94\x93X" + struct.pack("<I", len(path)) + path + b"\x85R."


def archive(path: Path, instructions: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", instructions)
        file.writestr("archive/version", "3\n")
    return path


def saved(path: Path, state: object, **how) -> Path:
    torch.save(state, path, **how)
    return path


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def safetensors(path: Path, state=MVDREAM) -> Path:
    save_file(state, path)
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def corrupt_index(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02")
    content[start : start + 4] = b"XXXX"
    return write(path, bytes(content))


def linked(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5214865159\n"
HOSTILE = {
    "missing": (lambda d: d / "a.ckpt", files.MissingWeights, "is not there"),
    "dead link": (lambda d: linked(d / "a.pt", "../blobs/1234"), files.MissingWeights, "link to"),
    "empty": (lambda d: write(d / "a.ckpt", b""), files.EmptyWeights, "0 bytes"),
    "cut zip": (lambda d: cut(saved(d / "a.pt", MVDREAM), 0.6), files.UnfinishedDownload, "cut"),
    "cut old form": (
        lambda d: cut(saved(d / "a.pt", MVDREAM, _use_new_zipfile_serialization=False), 0.95),
        files.WeightsError,
        "a.pt",
    ),
    "cut safetensors": (lambda d: cut(safetensors(d / "a.safetensors"), 0.9), files.UnfinishedDownload, "%"),
    "cut in the header": (lambda d: cut(safetensors(d / "a.safetensors"), 0.2), files.UnfinishedDownload, "header"),
    "incomplete": (lambda d: saved(d / "a.pt.incomplete", MVDREAM), files.UnfinishedDownload, "not finished"),
    "part": (lambda d: saved(d / "a.pt.part", MVDREAM), files.UnfinishedDownload, "not finished"),
    "only a part beside": (
        lambda d: saved(d / "a.pt.part", MVDREAM).with_suffix(""),
        files.UnfinishedDownload,
        "a.pt.part beside",
    ),
    "git-lfs": (lambda d: write(d / "a.ckpt", LFS), files.PointerFile, "5214865159 bytes"),
    "git-annex": (lambda d: write(d / "a.ckpt", b"/annex/objects/SHA256E-s5--12.ckpt\n"), files.PointerFile, "annex"),
    "annex link": (lambda d: linked(d / "a.pt", ".git/annex/objects/x"), files.PointerFile, "annex get"),
    "web page": (lambda d: write(d / "a.ckpt", b"\n<!DOCTYPE html><html>403</html>"), files.WebPage, "web page"),
    "error text": (lambda d: write(d / "a.ckpt", b'{"error":"gated repo"}'), files.WebPage, "gated"),
    "bad header": (
        lambda d: write(d / "a.safetensors", struct.pack("<Q", 40) + b"{not json".ljust(40)),
        files.DamagedWeights,
        "header",
    ),
    "header of a terabyte": (
        lambda d: write(d / "a.safetensors", struct.pack("<Q", 1 << 40) + b'{"a":1}'.ljust(64)),
        files.DamagedWeights,
        "cannot be",
    ),
    "tail": (
        lambda d: write(d / "b.safetensors", safetensors(d / "a.safetensors").read_bytes() + b"x" * 9),
        files.DamagedWeights,
        "9 bytes longer",
    ),
    "bad zip index": (lambda d: corrupt_index(saved(d / "a.pt", MVDREAM)), files.DamagedWeights, "index"),
    "bad instructions": (lambda d: archive(d / "a.pt", b"\x80\x02}q\x00X\xff\xff"), files.DamagedWeights, "read"),
    "no instructions": (lambda d: write(d / "a.ckpt", b"\x80\x02"), files.UnfinishedDownload, "too early"),
    "code in a zip": (lambda d: archive(d / "a.pt", evil_pickle(d)), files.UnsafeWeights, "os.mkdir"),
    "code of protocol 4": (lambda d: archive(d / "a.pt", evil_pickle(d, 4)), files.UnsafeWeights, "os.mkdir"),
    "bare code": (lambda d: write(d / "a.ckpt", evil_pickle(d)), files.UnsafeWeights, "os.mkdir"),
    "bare code of protocol 4": (lambda d: write(d / "a.ckpt", evil_pickle(d, 4)), files.UnsafeWeights, "os.mkdir"),
    "code named safetensors": (lambda d: write(d / "a.safetensors", evil_pickle(d)), files.UnsafeWeights, "os.mkdir"),
    "code of torch itself": (
        lambda d: archive(d / "a.pt", b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00a\x85R."),
        files.UnsafeWeights,
        "torch.hub",
    ),
    "eval": (
        lambda d: archive(d / "a.pt", b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R."),
        files.UnsafeWeights,
        "eval",
    ),
    "plain zip": (lambda d: plain_zip(d / "a.ckpt"), files.NotWeights, "readme.txt"),
    "picture": (lambda d: write(d / "a.ckpt", b"\x89PNG\r\n\x1a\n" + bytes(64)), files.NotWeights, "89 50 4e 47"),
    "text": (lambda d: write(d / "a.ckpt", b"hello, I am a text file"), files.NotWeights, "no weight file"),
    "no tensors": (lambda d: saved(d / "a.pt", {"epoch": 3}), files.NotWeights, "without tensors"),
    "a list": (lambda d: saved(d / "a.pt", [1, 2]), files.NotWeights, "list"),
    "folder": (lambda d: d, files.NotWeights, "folder"),
    "other model": (lambda d: saved(d / "a.pt", ZERO123), files.WrongFamily, "This is Zero123"),
    "unknown model": (lambda d: saved(d / "a.pt", {"x.weight": torch.ones(1)}), files.NotWeights, "no model"),
}


def plain_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    return path


def hashes(folder: Path) -> dict[str, str]:
    there = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in there}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_its_own_words(kind, tmp_path):
    make, error, words = HOSTILE[kind]
    path = make(tmp_path)
    before = hashes(tmp_path)
    with pytest.raises(error) as caught:
        read_weights(path, Family.MVDREAM)
    assert words in str(caught.value)
    assert caught.value.remedy.endswith(".") and caught.value.what.strip()
    assert not ran(tmp_path).exists(), "code in the file was run"
    assert hashes(tmp_path) == before


def test_the_planted_code_would_work(tmp_path):
    """Negative control: the instructions do what the tests above say must not happen."""
    torch.serialization.pickle.loads(evil_pickle(tmp_path))
    assert ran(tmp_path).is_dir()


def test_every_kind_of_trouble_has_its_own_code():
    kinds = [kind for kind in vars(files).values() if isinstance(kind, type) and issubclass(kind, files.WeightsError)]
    own = [kind for kind in kinds if not issubclass(kind, files.UnfinishedDownload) or kind is files.UnfinishedDownload]
    assert len({kind.code for kind in own}) == len(own) == 8


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_good_pickles_are_read(tmp_path, old, wrapped):
    state = {"state_dict": MVDREAM, "epoch": 3} if wrapped else MVDREAM
    path = saved(tmp_path / "a.ckpt", state, _use_new_zipfile_serialization=not old)
    assert read_weights(path, Family.MVDREAM).keys() == MVDREAM.keys()


def test_a_lightning_file_with_its_trainer_inside_is_read_without_the_trainer(tmp_path):
    path = saved(tmp_path / "a.ckpt", {"state_dict": MVDREAM, "callbacks": {}})
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    # callbacks: {ModelCheckpoint: numpy.core.multiarray.scalar("x")}
    planted = b"}cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    planted += b"cnumpy.core.multiarray\nscalar\nX\x01\x00\x00\x00x\x85Rs"
    assert b"callbacks" in entries[name]
    start = entries[name].index(b"callbacks") + len(b"callbacks")
    empty = entries[name].index(b"}", start)
    entries[name] = entries[name][:empty] + planted + entries[name][empty + 1 :]
    with zipfile.ZipFile(path, "w") as file:
        for entry, content in entries.items():
            file.writestr(entry, content)
    assert "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint" in files.pickle_names(path)
    assert read_weights(path).keys() == MVDREAM.keys()


def test_safetensors_are_read_whatever_the_suffix_says(tmp_path):
    assert read_weights(safetensors(tmp_path / "a.ckpt")).keys() == MVDREAM.keys()
    assert set(files.keys_of(tmp_path / "a.ckpt")) == MVDREAM.keys()


@pytest.mark.parametrize("start", [b"\x80", b"PK"])
def test_a_header_length_that_looks_like_a_pickle_or_archive_confuses_nobody(start, tmp_path):
    content = safetensors(tmp_path / "a.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    wanted = struct.unpack("<Q", start.ljust(8, b"\0"))[0]
    wanted += 0 if wanted >= length else 0x100 * (1 + (length - wanted) // 0x100)
    header = content[8 : 8 + length].ljust(wanted)
    path = write(tmp_path / "b.ckpt", struct.pack("<Q", wanted) + header + content[8 + length :])
    assert path.read_bytes().startswith(start)
    assert read_weights(path).keys() == MVDREAM.keys()


def test_a_diffusers_folder_is_read_part_by_part_with_shards(tmp_path):
    for name in ("unet", "vae"):
        (tmp_path / name).mkdir()
    safetensors(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", {"v": torch.ones(1)})
    stem = "diffusion_pytorch_model"
    for number, key in enumerate("ab"):
        safetensors(tmp_path / "unet" / f"{stem}-{number}.safetensors", {key: torch.ones(1)})
    index = {"weight_map": {"a": f"{stem}-0.safetensors", "b": f"{stem}-1.safetensors"}}
    (tmp_path / "unet" / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    assert read_component(tmp_path, "vae").keys() == {"v"}
    assert read_component(tmp_path, "unet").keys() == {"a", "b"}
    with pytest.raises(files.MissingWeights, match="text_encoder"):
        read_component(tmp_path, "text_encoder")


def test_a_shard_list_cannot_lead_out_of_its_folder(tmp_path):
    safetensors(tmp_path / "secret.safetensors")
    (tmp_path / "unet").mkdir()
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (tmp_path / "unet" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(files.UnsafeWeights, match="outside its folder"):
        read_component(tmp_path, "unet")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the key lists lie beside the repository and are not here")
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mvdream_v21", Family.MVDREAM),
        ("imagedream", Family.IMAGEDREAM),
        ("zero123", Family.ZERO123),
        ("v3d", Family.STABLE_VIDEO),  # the list joins V3D.ckpt with svd_xt's image encoder
    ],
)
def test_the_published_key_lists_are_recognised(name, family):
    lines = (SHARED / "spec" / "checkpoint-keys" / f"{name}.tsv").read_text().splitlines()[1:]
    keys = [line.split("\t")[0] for line in lines]
    assert family_of(keys) is family
    if family is Family.STABLE_VIDEO:
        assert family_of([key for key in keys if not key.startswith("conditioner.")]) is Family.V3D


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        (["model.diffusion_model.out.0.weight", "first_stage_model.x"], Family.STABLE_DIFFUSION),
        (["model.diffusion_model.camera_embed.0.weight", "cond_stage_model.transformer.y"], Family.MVDREAM_15),
        (["unet.conv_in.weight", "vae.decoder.conv_in.weight"], Family.CONVERTED),
        (["a.lora_A.weight", "a.lora_B.weight"], Family.LORA),
        (["add_embedding.norm1.weight", "encoder_hid_proj.weight"], Family.DEEPFLOYD),
        (["encoder.block.0.layer.0.SelfAttention.q.weight", "a.DenseReluDense.wo.weight"], Family.T5),
        (["optimizer.state"], None),
    ],
)
def test_other_layouts_are_told_apart(keys, family):
    assert family_of(keys) is family


def test_the_message_names_both_models():
    with pytest.raises(files.WrongFamily, match="This is Zero123, and it was given to MVDream"):
        check_family(ZERO123, Family.MVDREAM)


def test_looking_at_files_needs_no_torch():
    import subprocess
    import sys

    code = "import dreamlift.priors.files, sys; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=os.environ).strip() == "False"


def test_names_are_found_without_running_anything(tmp_path):
    content = io.BytesIO()
    torch.save(MVDREAM, content)
    path = write(tmp_path / "a.pt", content.getvalue())
    assert "torch._utils._rebuild_tensor_v2" in files.pickle_names(path)
