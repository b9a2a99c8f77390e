//! `getFlake`: a flake as a value. What flakes are is the business of [`crate::flake`].

use nixlang_store::input::FlakeRef;

use super::Definition;
use super::flake_ref::{failed, require_flakes, with_reader};
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::flake::{LockOptions, call, lock};
use crate::heap::Value;
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[Definition::new("getFlake", &["args"], get_flake)
    .strict(1)
    .doc("Fetches a flake and returns its outputs, with what is known of its tree. A pure evaluation takes only references that are locked.")];

fn get_flake<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    require_flakes(eval)?;
    let text = eval.force_string_no_context(args[0], pos, "while evaluating the argument passed to builtins.getFlake")?;
    let text = String::from_utf8_lossy(text.bytes());
    let reference = with_reader(eval, |reader| {
        let (reference, fragment) = FlakeRef::parse(&text, true, reader)?;
        reference.without_fragment(&fragment, &text)
    })?;
    if eval.options.pure && !reference.input.is_locked(eval.options.trust_forge_archives).map_err(failed)? {
        let place = eval.show_pos(pos);
        let message = format!("cannot call 'getFlake' on unlocked flake reference '{text}', at {place} (use --impure to override)");
        return Err(EvalError::new(ErrorKind::Evaluation, message));
    }
    let options = LockOptions {
        update: false,
        write: false,
        use_registries: Some(!eval.options.pure && eval.options.flakes.use_registries),
        allow_unlocked: !eval.options.pure,
        ..LockOptions::default()
    };
    call(eval, &lock(eval, &reference, &options)?)
}
