return {
  train = text "../../../../examples/data/kjv-train.txt",
  lines = jsonl "lines.jsonl",
  heldout = text "../../../../examples/data/kjv-*out.txt",
}
