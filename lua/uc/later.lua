-- Words whose form is settled and whose work comes later. They say so instead of half working.
local function later(word, why, instead)
  uc.fail(string.format("%s is not there yet: %s", word, why), instead)
end

local words = {}

function words.hub(id)
  later("hub", "models are read from local folders only",
    string.format("download %s and write dir \"FOLDER\"", tostring(id)))
end

function words.track_b()
  later("track.b", "this version changes weights only, not the structure of a model",
    "leave it out, or use track.a { bpw = ... }")
end

function words.sweep(name)
  local word = string.format("sweep %q", tostring(name))
  return function()
    later(word, "one artifact is built for each artifact word",
      "write a loop: for _, bpw in ipairs { 2, 3, 4 } do artifact(\"b\" .. bpw) { ... } end")
  end
end

function words.tasks()
  later("tasks", "this version measures perplexity and divergence", "use ppl and kld in metrics")
end

return words
