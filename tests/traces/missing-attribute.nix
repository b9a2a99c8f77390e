let
  set = { colour = "red"; color-space = "sRGB"; };
in
set.colours
