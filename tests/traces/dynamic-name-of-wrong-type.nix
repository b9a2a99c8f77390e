let
  set.inner.deep = { };
  names = [ 1 ];
in
set.inner.${builtins.head names}
