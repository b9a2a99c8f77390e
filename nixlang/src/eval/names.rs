//! Symbols that the evaluator itself uses, interned first and in the reference's order (the order of symbols is observable).

use crate::symbol::{Symbol, SymbolTable};

macro_rules! names {
    ($($field:ident = $text:literal),* $(,)?) => {
        /// Symbols that the evaluator itself uses.
        #[derive(Clone, Copy)]
        #[allow(missing_docs, reason = "each field is the symbol of its text")]
        pub struct Names { $(pub $field: Symbol),* }
        impl Names {
            /// Interns them.
            pub fn new(symbols: &SymbolTable<'_>) -> Self {
                Names { $($field: symbols.intern($text.as_bytes())),* }
            }
        }
    };
}

names! {
    with = "<with>", out_path = "outPath", drv_path = "drvPath", type_ = "type", meta = "meta", name = "name", value = "value",
    system = "system", overrides = "__overrides", outputs = "outputs", output_name = "outputName", ignore_nulls = "__ignoreNulls",
    file = "file", line = "line", column = "column", functor = "__functor", to_string = "__toString", right = "right", wrong = "wrong",
    structured_attrs = "__structuredAttrs", json = "__json", allowed_references = "allowedReferences",
    allowed_requisites = "allowedRequisites", disallowed_references = "disallowedReferences",
    disallowed_requisites = "disallowedRequisites", max_size = "maxSize", max_closure_size = "maxClosureSize", builder = "builder",
    args = "args", content_addressed = "__contentAddressed", impure = "__impure", output_hash = "outputHash",
    output_hash_algo = "outputHashAlgo", output_hash_mode = "outputHashMode", recurse_for_derivations = "recurseForDerivations",
    description = "description", self_ = "self", epsilon = "", start_set = "startSet", operator = "operator", key = "key", path = "path",
    prefix = "prefix", output_specified = "outputSpecified", sub = "__sub", less_than = "__lessThan", mul = "__mul", div = "__div",
    or = "or", find_file = "__findFile", nix_path = "__nixPath", body = "body",
}
