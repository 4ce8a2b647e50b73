"""`dreamlift train mini-mvdream | mini-imagedream`: renders the data, trains, and says where the models are.

Knows the order and the budgets. What is trained and how is in `dreamlift.training`. Resumes: the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dreamlift.commands.outcomes import CommandError, Exit

MODELS = ("mini-mvdream", "mini-imagedream")
CONTROLLERS = ("pixel", "local", "global")
POSED = 50  # files of 1000 pictures with their cameras and captions; the last one only measures
MINUTES = {"mini-mvdream": 90.0, "mini-imagedream": 45.0}


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Train an embedded model anew. Stop it at any time; the same command goes on."
    parser = commands.add_parser("train", parents=[common], help="train an embedded model anew", description=text)
    parser.add_argument("model", choices=MODELS, help="mini-imagedream starts from the embedded mini-mvdream")
    parser.add_argument("--folder", type=Path, help="data, checkpoints and the result (default: runs/MODEL)")
    parser.add_argument("--minutes", type=float, help="budget of the U-Net's training (default: 90, imagedream 45)")
    parser.add_argument("--vae-minutes", type=float, default=8.0, help="mini-mvdream: of the VAE (default: 8)")
    parser.add_argument(
        "--decoder-minutes", type=float, default=12.0, help="mini-mvdream: of its decoder's refinement (default: 12)"
    )
    parser.add_argument(
        "--encoder-minutes", type=float, default=15.0, help="mini-imagedream: of the image-text model (default: 15)"
    )
    parser.add_argument(
        "--adapter-minutes", type=float, default=12.0, help="mini-imagedream: of either adapter (default: 12)"
    )
    parser.add_argument(
        "--pose-minutes",
        type=float,
        default=25.0,
        help="mini-imagedream: of what reads a picture's camera and box (default: 25)",
    )
    parser.add_argument(
        "--words-minutes",
        type=float,
        default=20.0,
        help="mini-imagedream: of what reads a picture's caption (default: 20)",
    )
    parser.add_argument(
        "--controllers",
        nargs="+",
        choices=CONTROLLERS,
        default=CONTROLLERS,
        help="mini-imagedream: which ones (default: all)",
    )
    parser.add_argument("--shards", type=int, default=16, help="files of 1000 rendered sets each (default: 16)")
    parser.add_argument("--processes", type=int, help="processes, one thread each (default: one for each core)")
    parser.add_argument("--name", default="1", help="version written beside the weights (default: 1)")
    parser.set_defaults(run=run, usual_log_level="info")  # losses are what one watches


def run(args: argparse.Namespace) -> Exit:
    """Render, train, say what came out."""
    args.folder = args.folder or Path("runs") / args.model
    args.minutes = MINUTES[args.model] if args.minutes is None else args.minutes
    if args.shards < 2:
        raise CommandError(f"{args.shards} shards are too few.", "Give at least 2: the last one only measures.")
    if min(value for name, value in vars(args).items() if name.endswith("minutes")) <= 0:
        raise CommandError("A training budget must be positive.", "Give every option of minutes a value above 0.")
    from dreamlift.threads import prepare_threads, usable_cores

    prepare_threads(threads=1)
    from dreamlift.training.dataset import ensure_shards

    args.processes = args.processes or usable_cores()
    print(f"rendering {args.shards * 1000} objects into {args.folder / 'data'}", flush=True)
    shards = ensure_shards(args.folder / "data", args.shards, processes=args.processes)
    if args.model == "mini-mvdream":
        _train_mvdream(args, shards)
    else:
        _train_imagedream(args, shards)
    return Exit.OK


def _train_mvdream(args: argparse.Namespace, shards: list[Path]) -> None:
    from dreamlift.training.dataset import load_shards
    from dreamlift.training.runner import run_parallel
    from dreamlift.training.train_mvdream import MVDreamTraining, train_mvdream
    from dreamlift.training.train_vae import DecoderTraining, VAETraining, refine_decoder, train_vae

    print("training the VAE", flush=True)
    sets = load_shards(shards[:6])
    train_vae(sets, args.folder, VAETraining(seconds=args.vae_minutes * 60))
    refine_decoder(sets, args.folder, DecoderTraining(seconds=args.decoder_minutes * 60))
    del sets
    print("training the prior", flush=True)
    settings = MVDreamTraining(seconds=args.minutes * 60)
    run_parallel(train_mvdream, args.processes, shards, args.folder, settings, args.name)
    print(f"{args.folder / 'model'}: copy it to backend/mini/mvdream, then run: dreamlift evaluate mini-mvdream")


def _train_imagedream(args: argparse.Namespace, shards: list[Path]) -> None:
    from dreamlift.training.image_prompts import ensure_prompts
    from dreamlift.training.posed_pictures import ensure_posed
    from dreamlift.training.runner import run_parallel
    from dreamlift.training.train_image_text import ImageTextTraining, train_image_text
    from dreamlift.training.train_imagedream import ImageDreamTraining, train_imagedream
    from dreamlift.training.train_picture_pose import PicturePoseTraining, train_picture_pose
    from dreamlift.training.train_picture_words import PictureWordsTraining, train_picture_words

    print("rendering an image prompt for every object", flush=True)
    ensure_prompts(shards, args.processes)
    print("training the image-text model", flush=True)
    train_image_text(shards, args.folder, ImageTextTraining(seconds=args.encoder_minutes * 60), args.name)
    print(f"{args.folder / 'image_text'}: copy it to backend/mini/image_text", flush=True)
    print("drawing pictures whose cameras and captions are known, and training what reads them", flush=True)
    posed = ensure_posed(args.folder / "posed", POSED, processes=args.processes)
    train_picture_pose(posed, args.folder, PicturePoseTraining(seconds=args.pose_minutes * 60), args.name)
    print(f"{args.folder / 'picture_pose'}: copy it to backend/mini/picture_pose", flush=True)
    train_picture_words(posed, args.folder, PictureWordsTraining(seconds=args.words_minutes * 60), args.name)
    print(f"{args.folder / 'picture_words'}: copy it to backend/mini/picture_words", flush=True)
    for controller in args.controllers:
        print(f"training the {controller} controller", flush=True)
        minutes = args.minutes if controller == "pixel" else args.adapter_minutes
        settings = ImageDreamTraining(seconds=minutes * 60, controller=controller)
        run_parallel(train_imagedream, args.processes, shards, args.folder, settings, args.name)
        print(f"{args.folder / controller}: copy it to backend/mini/imagedream/{controller}", flush=True)
