#!/bin/sh
# Make the default weights of the small network again:
#   sh recipes/default_small.sh CLIPS PHOTOS OUTPUT
# CLIPS: a folder of videos, or a packed cache of them (dataset.py pack CLIPS --reduce 2); PHOTOS: of images for the
# generated scenes. Both are named in the weights' card, model/weights/README.md. Stopped? The same command goes on.
set -e
# A stopped stage saves and ends well: without these the next one would begin from half-trained weights.
trap "exit 130" INT
trap "exit 143" TERM
cd "$(dirname "$0")/.."
train() { ${PYTHON:-python3} train.py --data "$clips" --photos "$photos" --resume "$@"; }
clips=$1 photos=$2 output=$3

train --config recipes/small.txt --seed 60 --output "$output/1"
train --config recipes/small_large_crops.txt --seed 62 --init "$output/1/last.safetensors" --output "$output/2"
train --config recipes/small_selector.txt --seed 61 --init "$output/2/last.safetensors" --output "$output/3"
