# a
{
  a = "x
y";}
