"""Bits per byte of a transformers model, read through its tokenizer, beside a model of ours."""

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import proxylm as px

text = b"Whatever the vocabulary: bits are divided by bytes, so that models can be compared.\n"
px.save(px.train_tokenizer([text] * 50, vocabulary_size=280), "tokenizer")
tokenizer = PreTrainedTokenizerFast(tokenizer_file="tokenizer/tokenizer.json", bos_token="<bos>")
sizes = LlamaConfig(vocab_size=281, hidden_size=64, num_hidden_layers=2, intermediate_size=128)
theirs = px.score(LlamaForCausalLM(sizes), [text], read_as=tokenizer)
ours = px.score(px.LanguageModel(px.preset("demo", layers=2)), [text])
for name, scores in (("theirs", theirs), ("ours", ours)):
    print(name, scores, scores.per_byte[0][:9].round(1).tolist())
