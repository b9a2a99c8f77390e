let
  config = rec {
    services.web.port = base.port + 1;
    base = { port = "80"; };
  };
in
config.services.web.port
