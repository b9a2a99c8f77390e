{
  a.b = 1;
  a = { b = 2; c = 3; };
  inherit a;
  d = { e, f, e }@f: 1;
  g = let h = 1; h = 2; in h;
}
