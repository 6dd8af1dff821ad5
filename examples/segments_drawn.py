"""Where compressors divide a text, and how many bytes a symbol stands for."""

import proxylm as px

text = b"def add(first, second):\n    return first + second\n"
tokens = px.train_tokenizer([text] * 50, vocabulary_size=280)
print(px.segments(tokens, text))
for compressor in (tokens, px.load_compressor("gzip"), px.load_compressor("units:bits=4")):
    found = px.segments(compressor, text * 4)
    print(f"{compressor.kind:9} {found.bytes_per_symbol:.2f} bytes per symbol")
