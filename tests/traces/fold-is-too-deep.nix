let
  nest = builtins.foldl' (tail: head: { inherit head tail; }) null (builtins.genList (x: x) 20000);
in
builtins.deepSeq nest 1
