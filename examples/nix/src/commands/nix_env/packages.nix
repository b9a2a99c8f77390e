# The packages of a value as data, for `nix-env`: which there are at first, and more about some of them when asked.
#
# A value is searched as `nix-env` searches it: lists, sets that say so (recurseForDerivations) and the top set. Packages whose name fails by
# an assertion or a throw are passed over.
{ root, arguments }:

let
  inherit (builtins) attrNames concatLists elemAt functionArgs genList intersectAttrs isAttrs isFunction isList length seq tryEval;

  autoCall = value:
    if isFunction value && functionArgs value != { } then value (intersectAttrs (functionArgs value) arguments) else value;

  isDerivation = value: isAttrs value && value ? type && value.type == "derivation";

  isName = name: builtins.match "[A-Za-z_][A-Za-z0-9_+-]*" name != null;

  join = prefix: name: if prefix == "" then name else "${prefix}.${name}";

  # { found } for a package, { other } for something that may hold packages, { } for what failed.
  look = prefix: value:
    let
      tried = tryEval (
        if isDerivation value then seq value.name { found = { inherit value; attrPath = prefix; }; } else seq value { other = value; });
    in
    if tried.success then tried.value else { };

  search = prefix: given:
    let
      value = autoCall given;
      seen = look prefix value;
      ofAttribute = name:
        let
          path = join prefix name;
          seen = look path value.${name};
        in
        if !(isName name) then [ ]
        else if value ? _combineChannels then search path value.${name}
        else if seen ? found then [ seen.found ]
        else if seen ? other && isAttrs seen.other && (seen.other.recurseForDerivations or false) then search path seen.other
        else [ ];
      ofElement = i:
        let
          path = join prefix (toString i);
          seen = look path (elemAt value i);
        in
        if seen ? found then [ seen.found ] else if seen ? other then search path seen.other else [ ];
    in
    if seen ? found then [ seen.found ]
    else if !(seen ? other) then [ ]
    else if isAttrs value then concatLists (map ofAttribute (attrNames value))
    else if isList value then concatLists (genList ofElement (length value))
    else throw "expression does not evaluate to a derivation (or a set or list of those)";

  packages = search "" root;

  # Whether a meta attribute can be kept: plain data only.
  isPlain = value:
    if isAttrs value then !(value ? outPath) && builtins.all (name: isPlain value.${name}) (attrNames value)
    else if isList value then builtins.all isPlain value
    else builtins.isString value || builtins.isInt value || builtins.isBool value || builtins.isFloat value;

  plainOrNull = value: let tried = tryEval (isPlain value); in if tried.success && tried.value then value else null;

  outputs = package: withPaths:
    let
      all = package.outputs or null;
      path = output: if withPaths then output.outPath else null;
    in
    if all == null then [ { name = "out"; path = if package ? outPath then path package else null; } ]
    else map (name: { inherit name; path = path package.${name}; }) all;
in
{
  summaries = map ({ value, attrPath }: { inherit (value) name; inherit attrPath; system = value.system or "unknown"; }) packages;

  priority = i: let meta = (elemAt packages i).value.meta or { }; in meta.priority or 0;

  details = { i, drvPath, outPath, outputPaths, meta }:
    let package = (elemAt packages i).value;
    in {
      # Not by their usual names: a set with an outPath becomes just that in JSON.
      derivation = if drvPath then package.drvPath or null else null;
      out = if outPath then package.outPath or null else null;
      outputName = package.outputName or "";
      outputs = outputs package outputPaths;
      toInstall =
        if package.outputSpecified or false then [ package.outputName ] else (package.meta or { }).outputsToInstall or null;
      meta = if meta then builtins.mapAttrs (_: plainOrNull) (package.meta or { }) else { };
    };
}
