--- path-is-made-canonical ---
# => /a/c
/a/./b/../c

--- path-absolute-prints ---
# => [ /a /a/b ]
[ /a /a/b ]

--- path-interpolation ---
# => /a/b/c
let x = "b"; in /a/${x}/c

--- path-trailing-slash ---
# error: path has a trailing slash
/a/

--- path-to-string ---
# => "/a/b"
toString /a/b

--- path-type ---
# => [ "path" "path" ]
map builtins.typeOf [ /a ./. ]

--- base-name-of ---
# => [ "b" "b" "a" "" "y" ]
map baseNameOf [ "/a/b" "/a/b/" "a" "" /x/y ]

--- dir-of ---
# => [ "/a" "." "/" /x ]
map dirOf [ "/a/b" "a" "/a" /x/y ]

--- path-exists ---
# => [ false true true ]
map builtins.pathExists [ /definitely/not/there ./paths.nix ./. ]

--- read-file-missing ---
# error: path '/definitely/not/there' does not exist
builtins.readFile /definitely/not/there

--- read-file-type ---
# => "regular"
builtins.readFileType ./paths.nix

--- import-missing ---
# error: path '/definitely/not/there.nix' does not exist
import /definitely/not/there.nix

--- search-path-missing ---
# error: file 'definitely-not-there' was not found in the Nix search path (add it using $NIX_PATH or -I)
<definitely-not-there>

--- search-path-of-nix-is-built-in ---
# => "path"
builtins.typeOf <nix/fetchurl.nix>

--- path-plus-string-with-slash ---
# => /ab
/a + "b"

--- url-literals-are-strings ---
# => "http://example.org/x?y=1"
http://example.org/x?y=1

--- home-path ---
# => "path"
builtins.typeOf ~/x

--- to-path-relative ---
# error: string 'a' doesn't represent an absolute path
builtins.toPath "a"

--- to-file-name-and-content ---
# => "/nix/store/88vj4mdd0v081vjikgj4m40wmxmm7cn2-x.txt"
builtins.toFile "x.txt" "hello"

--- store-path-outside ---
# error: path '/a' is not in the Nix store
builtins.storePath /a

--- get-env-unset ---
# => ""
builtins.getEnv "DEFINITELY_NOT_SET"

--- find-file ---
# error: file 'x' was not found in the Nix search path (add it using $NIX_PATH or -I)
builtins.findFile [ { prefix = "x"; path = /definitely/not/there; } ] "x"

--- path-filter-sees-a-directory-before-what-comes-behind-it ---
# stderr: trace: filter-src/a
# stderr: trace: filter-src/a/b
# stderr: trace: filter-src/c
# => "x"
(builtins.path {
  path = ./filter-src;
  name = "x";
  filter = path: type: builtins.trace (builtins.substring (builtins.stringLength (toString ./. + "/")) 99 path) true;
}).name or "x"
