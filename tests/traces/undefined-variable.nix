let
  length = 3;
in
[ 1 ]
++ [ lenght ]
