{
  mapped = builtins.map (element: element + throw "of ${toString element}") [ 1 2 ];
}
