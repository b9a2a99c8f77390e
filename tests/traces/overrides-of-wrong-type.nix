rec { __overrides = "no set"; }
