-- luacheck lua recipes examples tests/lua
std = "lua54"
max_line_length = 100
read_globals = { "uc", "use" } -- what lua/recipe.c gives to our own files
local words = { "project", "dir", "text", "jsonl", "mix", "metrics", "ppl", "kld", "tensor", "track",
  "artifact", "default", "param", "import", "range", "hub", "sweep", "tasks" }
files["examples"] = { read_globals = words }
files["tests/lua"] = { read_globals = words }
