-- A store of the host: evaluations write to it, and others copy from it. Run: luajit serve_custom_store.lua
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

jit.off()
local kept = {}
local functions = ffi.new("nixlang_store_functions")
functions.size = ffi.sizeof(functions)
-- LuaJIT makes no callbacks that take structures by value, so these get a string as its two words.
local function callback(type, body)
  return ffi.cast(type, ffi.cast("void *", ffi.cast(body[1], body[2])))
end
functions.query = callback("nixlang_error *(*)(void *, nixlang_string, void (*)(void *, const nixlang_stored *), void *)", {
  "void *(*)(void *, const char *, size_t, void (*)(void *, const nixlang_stored *), void *)",
  function(_, path, length, found, found_data)
    local it = kept[ffi.string(path, length)]
    if it then
      local stored = ffi.new("nixlang_stored")
      stored.nar_hash, stored.nar_size = nix.text(it.hash), #it.nar
      found(found_data, stored)
    end
    return nil
  end,
})
functions.write_nar = callback("nixlang_error *(*)(void *, nixlang_string, nixlang_sink, void *)", {
  "void *(*)(void *, const char *, size_t, nixlang_sink, void *)",
  function(_, path, length, sink, sink_data)
    local nar = kept[ffi.string(path, length)].nar
    sink(sink_data, nar, #nar)
    return nil
  end,
})
functions.add_nar = callback("nixlang_error *(*)(void *, nixlang_string, const nixlang_stored *, nixlang_string)", {
  "void *(*)(void *, const char *, size_t, const nixlang_stored *, const char *, size_t)",
  function(_, path, length, info, nar, nar_length)
    kept[ffi.string(path, length)] = { hash = nix.lua(info.nar_hash), nar = ffi.string(nar, nar_length) }
    return nil
  end,
})

local store = nix.new("store", C.nixlang_store_new, functions, nix.text("example"), nix.text(""), nil, nil)
local config = ffi.gc(C.nixlang_config_new(), C.nixlang_config_free)
nix.must(C.nixlang_config_set_store(config, store))
nix.evaluate(nix.engine(config), 'builtins.toFile "greeting" "hello"')
local memory = nix.new("store", C.nixlang_store_open, nix.text("dummy://?read-only=false"), nil)
for path, it in pairs(kept) do
  print(("kept: %s, %d bytes"):format(path:sub(45), #it.nar))
  local copied = nix.new("paths", C.nixlang_store_copy, store, memory, nix.text(path))
  print("copied: " .. tonumber(C.nixlang_paths_count(copied)))
end
