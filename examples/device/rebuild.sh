#!/usr/bin/env bash
# On the device: rebuild the TensorRT engine if it is not this GPU's, and check the whole bundle.
# Exit code 0: right; 1: it answers differently; 3: no NVIDIA GPU or no TensorRT here.
set -u
bundle=${1:?usage: rebuild.sh BUNDLE}
bmc check "$bundle"
