#!/bin/sh
# Make the default weights of the paper's network again, in the hours of a CPU that they had:
#   sh recipes/default_full.sh CLIPS PHOTOS OUTPUT
# CLIPS: a folder of videos, or a packed cache of them (dataset.py pack CLIPS --reduce 2); PHOTOS: of images for the
# generated scenes. Both are named in the weights' card, model/weights/README.md. Stopped? The same command goes on.
# With GPUs at hand, recipes/safa_adobe240.txt is the better way.
set -e
# A stopped stage saves and ends well: without these the next one would begin from half-trained weights.
trap "exit 130" INT
trap "exit 143" TERM
cd "$(dirname "$0")/.."
clips=$1 photos=$2 output=$3
# Usage: train STAGE STAGE_BEFORE OPTIONS; 0 before: from nothing.
train() {
    stage=$1 before=$2
    shift 2
    if [ "$before" != 0 ]; then set -- --init "$output/$before/last.safetensors" "$@"; fi
    ${PYTHON:-python3} train.py --data "$clips" --photos "$photos" --dataset folder synthetic --mix 1 2 \
        --precision bf16 --pretrained_encoder no --output "$output/$stage" --resume "$@"
}

train 1 0 --gap 2 4 --crop 96 --batch_size 8 --lr 1.2e-3 --warmup 100 --max_steps 5000 --routing coarse --blend_start
train 2 1 --gap 2 4 --crop 96 --batch_size 8 --lr 3e-4 --warmup 10 --max_steps 90 --routing learned
train 3 2 --gap 2 4 --crop 128 --batch_size 6 --lr 1.6e-3 --warmup 100 --max_steps 4800 --routing coarse --seed 7
train 4 3 --gap 2 4 8 --crop 128 --batch_size 6 --lr 8e-4 --warmup 20 --max_steps 1200 --routing coarse --seed 12
train 5 4 --gap 2 4 8 --crop 96 --batch_size 6 --lr 4e-4 --warmup 20 --max_steps 300 --routing learned --seed 13
train 6 5 --gap 2 4 8 --crop 128 --batch_size 6 --lr 8e-4 --warmup 20 --max_steps 2400 --routing coarse --seed 21
train 7 6 --gap 2 4 8 --crop 96 --batch_size 6 --lr 4e-4 --warmup 20 --max_steps 520 --routing learned --seed 22
