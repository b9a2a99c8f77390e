let
  greet = { name, greeting ? "hello" }: "${greeting} ${name}";
in
greet { name = "you"; greting = "hi"; }
