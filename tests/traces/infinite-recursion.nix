let
  a = { value = b.value; };
  b = { value = c.value; };
  c = { value = a.value; };
in
a.value
