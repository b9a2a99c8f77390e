{
  name = "hello" # the name
  "version" = "1";
  src = ./.
}
