rec {
  a.b."c".${d} = 1;
  inherit e "f";
  inherit (g.h) i j;
  let' = let { body = 1; };
}
