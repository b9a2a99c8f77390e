builtins.toJSON { list = builtins.genList (i: { inherit (i) x; }) 2; }
