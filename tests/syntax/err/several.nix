{ pkgs }:
let
  a = 1
  b = [ 1, 2 ];
in {
  c = if a then b;
  d = (a + ;
  e = "${a";
}
