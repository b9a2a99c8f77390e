# `<nix/fetchurl.nix>`: a fixed-output derivation that the builtin fetcher builds. Which hash is given decides the algorithm.
args@{
  url,
  name ? baseNameOf (toString url),
  executable ? false,
  unpack ? false,
  impure ? false,
  # One of these says what the result must be; `hash` carries its algorithm with it.
  hash ? "",
  sha512 ? "",
  sha256 ? "",
  sha1 ? "",
  md5 ? "",
  outputHash ? "",
  outputHashAlgo ? "",
  # Accepted, and without effect.
  system ? "",
}:
let
  candidates = [
    { algorithm = ""; digest = hash; }
    { algorithm = "sha512"; digest = sha512; }
    { algorithm = "sha1"; digest = sha1; }
    { algorithm = "md5"; digest = md5; }
  ];
  given = builtins.filter (candidate: candidate.digest != "") candidates ++ [ { algorithm = "sha256"; digest = sha256; } ];
  expected = builtins.head given;
  promise =
    if impure then
      { __impure = true; }
    else
      {
        outputHash = args.outputHash or expected.digest;
        outputHashAlgo = args.outputHashAlgo or expected.algorithm;
      };
in
derivation (promise // {
  inherit name url executable unpack;
  urls = [ url ];
  system = "builtin";
  builder = "builtin:fetchurl";
  outputHashMode = if executable || unpack then "recursive" else "flat";
  preferLocalBuild = true;
  impureEnvVars = map (protocol: protocol + "_proxy") [ "http" "https" "ftp" "all" "no" ];
})
