#!/usr/bin/env bash
# From a table of support tickets to a tiny classifier: train a teacher, distill it, export it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=(--data "$here/tickets.csv" --text-column message --label-column queue)
bmc train bert "${data[@]}" --epochs "${TEACHER_EPOCHS:-4}"
bmc distill --teacher bert --student tiny "${data[@]}" --epochs "${STUDENT_EPOCHS:-40}" --batch-size 16
bmc export tiny-tickets --target onnx
bmc predict tiny-tickets-onnx "The parcel is still not here" "I was charged twice"
