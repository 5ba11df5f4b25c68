-- The licence files of an artifact: LICENSE by the identifier that the author names, and the source
-- model's own licence beside it.
local license = {}

local source_names = { "LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "USE_POLICY.md", "NOTICE",
  "NOTICE.txt" }

-- license: value in the front matter of the model's README, where model folders state it.
local function stated(dir)
  local path = dir .. "/README.md"
  if uc.exists(path) ~= "file" then return nil end
  local front = uc.read(path):match("^%-%-%-\r?\n(.-)\n%-%-%-")
  local id = front and ("\n" .. front):match("\nlicense:%s*([^\r\n]+)")
  return id and id:gsub("[\"']", ""):gsub("%s+$", "")
end

local function notice(id, base)
  local lines = {}
  if id then
    lines[#lines + 1] = "This compressed model is distributed under the licence identified as"
    lines[#lines + 1] = ""
    lines[#lines + 1] = "    " .. id
    lines[#lines + 1] = ""
    lines[#lines + 1] = "The full text is where that identifier is defined:"
    lines[#lines + 1] = "https://spdx.org/licenses/"
  else
    lines[#lines + 1] = "No licence was named for this compressed model."
  end
  if base then
    lines[#lines + 1] = "It is derived from a model under a licence of its own: see " .. base .. "."
  else
    lines[#lines + 1] = "It is derived from a model whose licence applies to it as well."
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Adds LICENSE and the source's licence files to files { [path] = ref }; returns what the manifest
-- says about them.
function license.add(files, id, dir)
  local base_id, base_file = stated(dir), nil
  for _, name in ipairs(source_names) do
    if uc.exists(dir .. "/" .. name) == "file" then
      local target = base_file and name .. ".base" or "LICENSE.base"
      files[target] = uc.file(dir .. "/" .. name)
      base_file = base_file or target
    end
  end
  local chosen = id or base_id
  local full = chosen and uc.license_file(chosen)
  if full then
    files["LICENSE"] = uc.file(full)
  elseif not id and base_file then
    files["LICENSE"] = files[base_file]
  else
    files["LICENSE"] = uc.inline(notice(chosen, base_file))
  end
  return { id = chosen or "other", base = base_id or "other", base_file = base_file }
end

return license
