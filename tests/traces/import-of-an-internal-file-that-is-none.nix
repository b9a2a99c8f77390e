(import <nix/nothing.nix>) { }
