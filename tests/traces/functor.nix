let
  f = { __functor = self: x: self.y + x; };
in
f 1
