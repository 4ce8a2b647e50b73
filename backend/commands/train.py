"""`dreamlift train mini-mvdream`: renders the data, trains the VAE and the prior, and says where the model is.

Knows the order and the budget. What is trained and how is in `dreamlift.training`. Resumes: the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dreamlift.commands.outcomes import CommandError, Exit

MODELS = ("mini-mvdream",)


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Train an embedded model anew, from random weights. Stop it at any time; the same command goes on."
    parser = commands.add_parser("train", parents=[common], help="train an embedded model anew", description=text)
    parser.add_argument("model", choices=MODELS, help="which model")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/mini-mvdream"), help="data, checkpoints and the result"
    )
    parser.add_argument("--minutes", type=float, default=90.0, help="budget of the prior's training (default: 90)")
    parser.add_argument("--vae-minutes", type=float, default=8.0, help="budget of the VAE's training (default: 8)")
    parser.add_argument("--decoder-minutes", type=float, default=12.0, help="of its decoder's refinement (default: 12)")
    parser.add_argument("--shards", type=int, default=16, help="files of 1000 rendered sets each (default: 16)")
    parser.add_argument("--processes", type=int, help="processes, one thread each (default: one for each core)")
    parser.add_argument("--name", default="1", help="version written beside the weights (default: 1)")
    parser.set_defaults(run=run, usual_log_level="info")  # losses are what one watches


def run(args: argparse.Namespace) -> Exit:
    """Render, train, say what came out."""
    if args.shards < 2:
        raise CommandError(f"{args.shards} shards are too few.", "Give at least 2: the last one only measures.")
    if min(args.minutes, args.vae_minutes, args.decoder_minutes) <= 0:
        remedy = "Give --minutes, --vae-minutes and --decoder-minutes above 0."
        raise CommandError("A training budget must be positive.", remedy)
    from dreamlift.threads import prepare_threads, usable_cores

    prepare_threads(threads=1)
    from dreamlift.training.dataset import ensure_shards, load_shards
    from dreamlift.training.runner import run_parallel
    from dreamlift.training.train_mvdream import MVDreamTraining, train_mvdream
    from dreamlift.training.train_vae import DecoderTraining, VAETraining, refine_decoder, train_vae

    processes = args.processes or usable_cores()
    print(f"rendering {args.shards * 1000} objects into {args.folder / 'data'}", flush=True)
    shards = ensure_shards(args.folder / "data", args.shards, processes=processes)
    print("training the VAE", flush=True)
    sets = load_shards(shards[:6])
    train_vae(sets, args.folder, VAETraining(seconds=args.vae_minutes * 60))
    refine_decoder(sets, args.folder, DecoderTraining(seconds=args.decoder_minutes * 60))
    del sets
    print("training the prior", flush=True)
    settings = MVDreamTraining(seconds=args.minutes * 60)
    run_parallel(train_mvdream, processes, shards, args.folder, settings, args.name)
    print(f"{args.folder / 'model'}: copy it to backend/mini/mvdream, then run: dreamlift evaluate mini-mvdream")
    return Exit.OK
