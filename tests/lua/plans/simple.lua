-- The smallest whole recipe.
project { name = "simple" }
artifact "simple" { dir "../../../examples/models/tiny", track.a { bpw = 4 },
  calibrate = text "../../../examples/data/kjv-train.txt" }
