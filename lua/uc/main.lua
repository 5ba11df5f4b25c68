-- Entry of the prelude: evaluates one recipe, given as a file or as text.
local dsl = use "uc/dsl.lua"

return function(path, text, name)
  local session = dsl.new()
  if path then
    uc.load_file(path, session.environment())
  else
    uc.load_text(text, session.environment(), name)
  end
  session.finish()
end
